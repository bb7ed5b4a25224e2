"""A process's cache as Prometheus reads it, under the original document's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from prometheus_client.core import GaugeMetricFamily, UntypedMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from cache.statistics import LevelStatistics, Statistics, overall

_EVERYBODYS = "L2's are everybody's and L3's those of the machine: of several processes take the largest, not the sum"


class _Figure(NamedTuple):
    """What is told of a tier, or of all; `read` answers None for what is not known while the tier is away.

    What only grows is untyped: a counter would have `_total` put behind its name.
    """

    name: str
    kind: type[Any]
    words: str
    read: Callable[[LevelStatistics], float | None]


_WHOLE = (
    _Figure("total_requests", UntypedMetricFamily, "Lookups, each counted once.", lambda all_: all_.requests),
    _Figure("total_hits", UntypedMetricFamily, "Lookups that found a value.", lambda all_: all_.hits),
    _Figure("hit_ratio", GaugeMetricFamily, "Share of all lookups that found a value.", lambda all_: all_.hit_ratio),
    _Figure(
        "total_evictions",
        UntypedMetricFamily,
        "Values dropped for want of room, by any tier. L2's are everybody's.",
        lambda all_: all_.size.evictions if all_.size else None,
    ),
    _Figure(
        "total_size_bytes",
        GaugeMetricFamily,
        f"Bytes held, by all tiers together. {_EVERYBODYS}.",
        lambda all_: all_.size.bytes if all_.size else None,
    ),
    _Figure(
        "total_entries",
        GaugeMetricFamily,
        f"Values held, by all tiers together. {_EVERYBODYS}.",
        lambda all_: all_.size.entries if all_.size else None,
    ),
)

_BY_LEVEL = (
    _Figure("requests", UntypedMetricFamily, "Lookups that came to this tier.", lambda own: own.requests),
    _Figure("hits", UntypedMetricFamily, "Lookups that this tier answered.", lambda own: own.hits),
    _Figure(
        "hit_ratio", GaugeMetricFamily, "Share of this tier's lookups that found a value.", lambda own: own.hit_ratio
    ),
    _Figure(
        "faults",
        UntypedMetricFamily,
        "Requests that this tier could not serve: away, full, or damaged.",
        lambda own: own.faults,
    ),
    _Figure(
        "evictions",
        UntypedMetricFamily,
        "Values that this tier dropped for want of room. L2's are everybody's.",
        lambda own: own.size.evictions if own.size else None,
    ),
    _Figure(
        "saved_bytes",
        UntypedMetricFamily,
        "Bytes that compression has saved this tier.",
        lambda own: own.size.saved_bytes if own.size else None,
    ),
    _Figure(
        "size_bytes",
        GaugeMetricFamily,
        f"Bytes that this tier holds. {_EVERYBODYS}.",
        lambda own: own.size.bytes if own.size else None,
    ),
    _Figure(
        "entries",
        GaugeMetricFamily,
        f"Values that this tier holds. {_EVERYBODYS}.",
        lambda own: own.size.entries if own.size else None,
    ),
)


class CacheCollector(Collector):
    """The statistics at the time of a scrape. What a tier that is away holds is absent, and so are sums with it."""

    def __init__(self, statistics: Callable[[], Statistics], *, requests_as: str = "") -> None:
        """`requests_as` is one more name for all lookups."""
        self._statistics = statistics
        self._requests_as = requests_as

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        levels = self._statistics()
        whole = overall(levels)
        if any(level.size is None for level in levels.values()):
            whole = whole._replace(size=None)
        if self._requests_as:
            yield UntypedMetricFamily(self._requests_as, "Lookups in the cache, each counted once.", whole.requests)
        for figure in _WHOLE:
            yield figure.kind(f"cache_{figure.name}", figure.words, figure.read(whole))
        for figure in _BY_LEVEL:
            family = figure.kind(f"cache_level_{figure.name}", figure.words, labels=["level"])
            for level, own in levels.items():
                if (value := figure.read(own)) is not None:
                    family.add_metric([level.upper()], value)
            yield family
