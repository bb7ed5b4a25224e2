"""The cache's statistics as clients read them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from cache.statistics import LevelStatistics, Statistics, overall


class LevelStats(BaseModel):
    """One tier: what this process has asked it for, and what it holds; of the shared tier all that its server holds."""

    requests: int
    hits: int
    hit_ratio: float
    size_bytes: int
    entries: int
    evictions: int
    saved_bytes: int = Field(description="by compression")
    faults: int = Field(description="requests that it could not serve: away, full, or damaged")


class OverallStats(BaseModel):
    """All tiers; a request counts once, wherever it was answered."""

    total_requests: int
    total_hits: int
    hit_ratio: float
    total_size_bytes: int
    total_entries: int
    total_evictions: int


class CacheStats(BaseModel):
    """The statistics of one process's cache; a tier that is away or not used is null."""

    overall: OverallStats
    l1: LevelStats | None
    l2: LevelStats | None
    l3: LevelStats | None


def told(levels: Statistics) -> dict[str, Any]:
    """The JSON of the statistics, as CacheStats has it."""
    whole = overall(levels)
    named = {str(name): own for name, own in levels.items()}
    return {
        "overall": {
            "total_requests": whole.requests,
            "total_hits": whole.hits,
            "hit_ratio": round(whole.hit_ratio, 4),
            "total_size_bytes": whole.size.bytes if whole.size else 0,
            "total_entries": whole.size.entries if whole.size else 0,
            "total_evictions": whole.size.evictions if whole.size else 0,
        }
    } | {name: _level(named.get(name)) for name in ("l1", "l2", "l3")}


def _level(level: LevelStatistics | None) -> dict[str, Any] | None:
    if level is None or level.size is None:
        return None
    return {
        "requests": level.requests,
        "hits": level.hits,
        "hit_ratio": round(level.hit_ratio, 4),
        "size_bytes": level.size.bytes,
        "entries": level.size.entries,
        "evictions": level.size.evictions,
        "saved_bytes": level.size.saved_bytes,
        "faults": level.faults,
    }
