"""A cache's statistics as Prometheus reads them."""

from __future__ import annotations

from cache.collector import CacheCollector
from cache.memory import MemoryTier
from cache.statistics import LevelStatistics, Statistics, together
from cache.tier import Size
from cache.tiered import TieredCache


def told(statistics: Statistics) -> dict[tuple[str, ...], float]:
    """The values by name and level."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in CacheCollector(lambda: statistics, requests_as="lookups").collect()
        for sample in metric.samples
    }


def test_it_tells_of_all_tiers_and_of_each() -> None:
    """A real cache of two memories, asked three times."""
    slow = MemoryTier(10_000)
    slow.name = "l2"
    cache = TieredCache(MemoryTier(10_000), [slow])
    cache.set("key", b"value", 60)
    cache.get("key"), cache.get("key"), cache.get("none")
    found = told(cache.statistics())
    assert found["cache_total_requests",] == found["lookups",] == 3
    assert (found["cache_total_hits",], found["cache_hit_ratio",]) == (2, 2 / 3)
    assert (found["cache_level_requests", "L1"], found["cache_level_requests", "L2"]) == (3, 1)
    assert (found["cache_level_hits", "L1"], found["cache_level_hits", "L2"]) == (2, 0)
    assert found["cache_total_entries",] == 2
    assert found["cache_level_entries", "L2"] == 1
    assert found["cache_level_size_bytes", "L1"] > 5


def test_what_a_tier_that_is_away_holds_is_absent() -> None:
    """And so are the sums that want it: a counter that fell would look like one that began anew."""
    levels: Statistics = {
        "l1": LevelStatistics(10, 4, 0, Size(1, 2, 3)),
        "l2": LevelStatistics(6, 0, 6, None),
    }
    found = told(levels)
    assert (found["cache_level_faults", "L2"], found["cache_level_requests", "L2"]) == (6, 6)
    assert (found["cache_level_evictions", "L1"], found["cache_total_requests",]) == (3, 10)
    absent = {"cache_total_evictions", "cache_total_size_bytes", "cache_total_entries"}
    assert not absent & {name for name, *_ in found}
    assert ("cache_level_evictions", "L2") not in found


def test_caches_of_one_process_are_taken_together() -> None:
    """Each has its own memory; what they share is there once."""
    one: Statistics = {
        "l1": LevelStatistics(10, 4, 0, Size(1, 100, 0)),
        "l2": LevelStatistics(6, 2, 1, Size(50, 5000, 7, 3)),
    }
    other: Statistics = {
        "l1": LevelStatistics(5, 5, 0, Size(2, 200, 1)),
        "l2": LevelStatistics(0, 0, 0, Size(51, 5100, 7)),
    }
    assert together([one, other]) == {
        "l1": LevelStatistics(15, 9, 0, Size(3, 300, 1)),
        "l2": LevelStatistics(6, 2, 1, Size(51, 5100, 7, 3)),
    }
    assert together([one, {"l2": LevelStatistics(1, 0, 1, None)}])["l2"] == LevelStatistics(7, 2, 2, None)
    assert together([]) == {}
