"""The cache's statistics as clients and Prometheus read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily, UntypedMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
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


class CacheCollector(Collector):
    """The statistics at the time of a scrape, under the names of the original document.

    What only grows is untyped: a counter would have `_total` put behind its name.
    """

    def __init__(self, statistics: Callable[[], Statistics]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """All metrics; a tier that is away has no size."""
        levels = self._statistics()
        stats = told(levels)
        whole = stats["overall"]
        yield UntypedMetricFamily("deep_echo_cache_requests", "Lookups in the cache.", whole["total_requests"])
        yield GaugeMetricFamily("cache_hit_ratio", "Share of all lookups that found a value.", whole["hit_ratio"])
        for name in ("total_requests", "total_hits", "total_evictions"):
            yield UntypedMetricFamily(f"cache_{name}", f"{_WORDS[name]}, in all tiers together.", whole[name])
        for name in ("total_size_bytes", "total_entries"):
            yield GaugeMetricFamily(f"cache_{name}", f"{_WORDS[name]}, in all tiers together.", whole[name])
        by_level = {level.upper(): own for level in levels if (own := stats[level]) is not None}
        for name in ("requests", "hits", "evictions", "saved_bytes", "faults"):
            yield _by_level(UntypedMetricFamily, name, by_level)
        for name in ("hit_ratio", "size_bytes", "entries"):
            yield _by_level(GaugeMetricFamily, name, by_level)


_WORDS = {
    "total_requests": "Lookups, each counted once",
    "total_hits": "Lookups that found a value",
    "total_evictions": "Values dropped for want of room",
    "total_size_bytes": "Bytes held",
    "total_entries": "Values held",
    "requests": "Lookups that came to this tier",
    "hits": "Lookups that this tier answered",
    "evictions": "Values that this tier dropped for want of room",
    "saved_bytes": "Bytes that compression has saved this tier",
    "faults": "Requests that this tier could not serve: away, full, or damaged",
    "hit_ratio": "Share of this tier's lookups that found a value",
    "size_bytes": "Bytes that this tier holds",
    "entries": "Values that this tier holds",
}


def _by_level(kind: type[Any], name: str, by_level: dict[str, dict[str, Any]]) -> Metric:
    family = kind(f"cache_level_{name}", f"{_WORDS[name]}.", labels=["level"])
    for level, own in by_level.items():
        family.add_metric([level], own[name])
    return family  # type: ignore[no-any-return]
