"""L1: this process's memory, bounded in bytes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

from cachetools import TLRUCache

from cache.tier import MISS, Entry, Miss, Tier

_KEY_BYTES = 200
"""What an entry costs beside its value, about: its key, and its place in the tier's tables."""


class MemoryTier(Tier):
    """Least recently used entries go first. Threads may share it."""

    name = "l1"

    def __init__(self, limit_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: TLRUCache[str, tuple[bytes, float]] = TLRUCache(
            limit_bytes,
            ttu=lambda key, kept, now: kept[1],
            timer=clock,
            getsizeof=lambda kept: sys.getsizeof(kept[0]) + _KEY_BYTES,
        )

    def get(self, key: str) -> Entry | Miss:
        with self._lock:
            kept = self._entries.get(key)
            return MISS if kept is None else Entry(kept[0], max(0.0, kept[1] - self._clock()))

    def set(self, key: str, entry: Entry) -> None:
        with self._lock:
            try:
                self._entries[key] = entry.value, self._clock() + entry.ttl_s
            except ValueError:  # larger than the whole tier
                self._entries.pop(key, None)

    def delete(self, key: str) -> None:
        with self._lock:
            self._entries.pop(key, None)
