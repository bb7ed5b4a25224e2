"""L1: this process's memory, bounded in bytes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from cache.policies import PolicyName, table
from cache.tier import MISS, Entry, Miss, Tier

ENTRY_BYTES = 200
"""What an entry costs beside its value, about: its key, and its place in the tier's tables."""


class MemoryTier(Tier):
    """What is kept longest is the policy's. Threads may share it."""

    name = "l1"

    def __init__(
        self, limit_bytes: int, policy: PolicyName = "lru", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.evictions = 0
        self._table = table(policy, limit_bytes, _weight, self._evicted)

    def get(self, key: str) -> Entry | Miss:
        with self._lock:
            kept = self._table.get(key)
            if kept is None:
                return MISS
            value, expires_at = kept
            left_s = expires_at - self._clock()
            if left_s <= 0:
                self._table.drop(key)
                return MISS
            return Entry(value, left_s)

    def set(self, key: str, entry: Entry) -> None:
        with self._lock:
            self._table.put(key, (entry.value, self._clock() + entry.ttl_s))

    def delete(self, key: str) -> None:
        with self._lock:
            self._table.drop(key)

    def size(self) -> tuple[int, int]:
        """How many entries are held, expired ones among them, and the bytes that they take."""
        with self._lock:
            return self._table.size()

    def _evicted(self) -> None:
        self.evictions += 1


def _weight(kept: tuple[bytes, float]) -> int:
    return sys.getsizeof(kept[0]) + ENTRY_BYTES
