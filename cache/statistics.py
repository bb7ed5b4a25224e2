"""What a cache has been asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from cache.tier import Level, Size


@dataclass(slots=True)
class Counts:
    """What one tier was asked for by this process. Not for several threads at a time."""

    requests: int = 0
    hits: int = 0
    faults: int = 0

    def add(self, *, is_hit: bool) -> None:
        """Count one request."""
        self.requests += 1
        self.hits += is_hit


class LevelStatistics(NamedTuple):
    """One tier's: requests are those that the faster tiers did not answer; `size` is None while the tier is away."""

    requests: int
    hits: int
    faults: int
    size: Size | None

    @property
    def hit_ratio(self) -> float:
        return self.hits / self.requests if self.requests else 0.0


Statistics = Mapping[Level, LevelStatistics]


def together(caches: Iterable[Statistics]) -> Statistics:
    """Several caches of one process as one: each has a memory of its own before tiers that they share."""
    whole: dict[Level, LevelStatistics] = {}
    for levels in caches:
        for name, own in levels.items():
            whole[name] = _added(whole[name], own, is_shared=name != "l1") if name in whole else own
    return whole


def _added(one: LevelStatistics, other: LevelStatistics, *, is_shared: bool) -> LevelStatistics:
    size = None
    if one.size is not None and other.size is not None:
        size = Size(*(max(pair) if is_shared else sum(pair) for pair in zip(one.size, other.size, strict=True)))
    return LevelStatistics(one.requests + other.requests, one.hits + other.hits, one.faults + other.faults, size)


def overall(levels: Statistics) -> LevelStatistics:
    """All tiers as one: a request counts once, wherever it was answered."""
    sizes = [level.size for level in levels.values() if level.size is not None]
    total = Size(*(sum(column) for column in zip(*sizes, strict=True))) if sizes else None
    requests = max((level.requests for level in levels.values()), default=0)
    hits, faults = (sum(getattr(level, name) for level in levels.values()) for name in ("hits", "faults"))
    return LevelStatistics(requests, hits, faults, total)
