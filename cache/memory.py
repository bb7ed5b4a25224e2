"""L1: this process's memory, bounded in bytes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from cache.policies import PolicyName, table
from cache.tier import MISS, Entry, Miss, Size, Tier

ENTRY_BYTES = 300
"""What an entry costs beside its value and its key, about: its times, and its place in the tier's tables."""

TAG_BYTES = 150
"""What a tag of its stamp costs beside its name, about."""


class Held:
    """An entry in memory, how often it was asked for there, and whether a slower tier has it, too."""

    __slots__ = ("bytes", "entry", "is_deep", "uses")

    def __init__(self, key: str, entry: Entry, is_deep: bool) -> None:
        self.entry, self.is_deep, self.uses = entry, is_deep, 0
        self.bytes = ENTRY_BYTES + sys.getsizeof(key) + sys.getsizeof(entry.value)
        if entry.stamp:
            self.bytes += sum(TAG_BYTES + sys.getsizeof(tag) for tag, _ in entry.stamp)


class MemoryTier(Tier):
    """What is kept longest is the policy's. Threads may share it."""

    name = "l1"

    def __init__(self, limit_bytes: int, policy: PolicyName = "lru", clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._table = table(policy, limit_bytes, _weight, self._evicted)
        self._find = self._table.get
        self._evictions = 0
        self._shed: list[tuple[str, Entry]] = []
        self.requests = 0
        self.hits = 0

    def find(self, key: str, counted: bool = True) -> Held | None:
        """The entry as it is held, which is not to be changed."""
        with self._lock:
            if counted:
                self.requests += 1
            held = self._find(key)
            if held is None:
                return None
            if held.entry.expires_at <= self._clock():
                self._table.drop(key)
                return None
            if counted:
                self.hits += 1
                held.uses += 1
            return held

    def reject(self, key: str, held: Held, counted: bool = True, *, is_void: bool = True) -> None:
        """Take back a hit, if it was counted: what was found is not to be used, and if it is void is held no more."""
        with self._lock:
            if counted:
                self.hits -= 1
            if is_void and self._table.peek(key) is held:
                self._table.drop(key)

    def promote(self, key: str, entry: Entry) -> list[tuple[str, Entry]]:
        """As `put`, of an entry that a slower tier has; not over one that was made since that was read."""
        with self._lock:
            held = self._table.peek(key)
            if held is not None and held.entry.made_at > entry.made_at:
                return []
            return self._put(key, entry, is_deep=True)

    def put(self, key: str, entry: Entry, *, is_deep: bool = False) -> list[tuple[str, Entry]]:
        """Keep the entry; returns those that were let go for it, never were in a slower tier, and are still good."""
        with self._lock:
            return self._put(key, entry, is_deep)

    def get(self, key: str) -> Entry | Miss:
        held = self.find(key)
        return MISS if held is None else held.entry

    def set(self, key: str, entry: Entry) -> None:
        self.put(key, entry)

    def add(self, key: str, entry: Entry) -> None:
        if self.find(key, counted=False) is None:
            self.put(key, entry)

    def delete(self, key: str) -> bool:
        with self._lock:
            return self._table.drop(key)

    def clear(self) -> int:
        with self._lock:
            entries, _ = self._table.size()
            self._table.clear()
            return entries

    def sweep(self) -> int:
        with self._lock:
            now = self._clock()
            expired = [key for key, held in self._table.items() if held.entry.expires_at <= now]
            for key in expired:
                self._table.drop(key)
            return len(expired)

    def size(self) -> Size:
        with self._lock:
            return Size(*self._table.size(), self._evictions)

    def _put(self, key: str, entry: Entry, is_deep: bool) -> list[tuple[str, Entry]]:
        self._table.put(key, Held(key, entry, is_deep))
        shed, self._shed = self._shed, []
        return shed

    def _evicted(self, key: str, held: Held) -> None:
        self._evictions += 1
        if not held.is_deep and held.entry.expires_at > self._clock():
            self._shed.append((key, held.entry))


def _weight(held: Held) -> int:
    return held.bytes
