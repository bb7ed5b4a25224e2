"""The original document's counters: they keep their names, which have no `_total`.

The library puts that behind the name of whatever it declares a counter. So they are made as untyped, and the exposition
declares them.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Counter
from prometheus_client.core import UntypedMetricFamily
from prometheus_client.registry import Collector

COUNTERS = frozenset(
    {
        "deep_echo_total_requests",
        "deep_echo_distributed_requests",
        "deep_echo_cache_requests",
        "cache_total_requests",
        "cache_total_hits",
        "cache_total_evictions",
        "cache_level_requests",
        "cache_level_hits",
        "cache_level_evictions",
        "cache_level_saved_bytes",
        "cache_level_faults",
    }
)


class SameAs(Collector):
    """A counter of ours, over all its labels, under the document's name."""

    def __init__(self, name: str, counter: Counter) -> None:
        self._name = name
        self._counter = counter

    def collect(self) -> Iterator[UntypedMetricFamily]:
        """The sum, as it is now."""
        (ours,) = self._counter.collect()
        counted = sum(sample.value for sample in ours.samples if sample.name.endswith("_total"))
        yield UntypedMetricFamily(self._name, f"{ours.documentation} All of them together.", counted)
