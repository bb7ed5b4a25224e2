"""Putting a process's tiers together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from cache.changes import Changes
from cache.disk import DiskTier
from cache.memory import MemoryTier
from cache.policies import PolicyName
from cache.shared import SharedTier
from cache.statistics import Statistics, together
from cache.sweeper import Sweeper
from cache.tags import Tags
from cache.tier import Tier
from cache.tiered import TieredCache

MIB = 1024 * 1024


class Assembly:
    """What the caches of one process have in common: servers, the folder on disk, and what others tell of changes."""

    def __init__(
        self,
        *,
        policy: PolicyName,
        store: redis.Redis,
        steady: redis.Redis,
        folder: Path,
        disk_mb: int,
        sweep_every_s: float,
        run_on_disk: Callable[..., Any] | None = None,
    ) -> None:
        """`store` keeps values (its client must not decode), `steady` tags (its client must, and its server not evict).

        `run_on_disk` runs what waits for the disk, where that must not be the calling thread.
        """
        self._policy = policy
        self._store = store
        self.changes = Changes(steady)
        self.tags = Tags(steady, self.changes)
        run = {"run": run_on_disk} if run_on_disk else {}
        self._disk = [DiskTier(folder, disk_mb * MIB, policy, **run)] if disk_mb else []
        self._sweeper = Sweeper(sweep_every_s)
        self._caches: list[TieredCache] = []

    def start(self) -> None:
        """Hear of changes, and make room of what expires: each in a thread of its own."""
        self.changes.start()
        self._sweeper.start()

    def stop(self) -> None:
        """End both. Blocks for about a second."""
        self._sweeper.stop()
        self.changes.stop()

    def cache(self, memory: MemoryTier, *, compress: bool) -> TieredCache:
        """A cache of this memory before the tiers that processes share."""
        slower: list[Tier] = [SharedTier(self._store, compress=compress), *self._disk]
        cache = TieredCache(memory, slower, tags=self.tags, changes=self.changes)
        self._sweeper.add(cache.sweep)
        self._caches.append(cache)
        return cache

    def statistics(self) -> Statistics:
        """Those of all its caches, taken together."""
        return together(cache.statistics() for cache in self._caches)

    def memory_alone(self, memory: MemoryTier) -> TieredCache:
        """A cache of this memory and nothing else."""
        return TieredCache(memory, tags=self.tags)
