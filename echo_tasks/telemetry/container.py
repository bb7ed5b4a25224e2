"""The container that a process runs in, as far as the process's own control group tells: of every process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from echo_tasks import cgroups
from echo_tasks.cgroups import MEMBERSHIP, MOUNT, Entry


class Container(Collector):
    """Its memory and its processor time. What the kernel does not tell, or not in numbers, is absent."""

    def __init__(self, membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> None:
        self._membership = membership
        self._mount = mount

    def collect(self) -> Iterator[Metric]:
        """All that is there now."""
        memory, idle_files, limit = (
            self._told(cgroups.MEMORY),
            self._told(cgroups.IDLE_FILES),
            self._told(cgroups.MEMORY_LIMIT),
        )
        if memory is not None:
            memory = max(0, memory - (idle_files or 0))
        yield GaugeMetricFamily(
            "echo_container_memory_bytes",
            "Memory of this process's container but for cached files that nobody has used of late.",
            memory,
        )
        yield GaugeMetricFamily(
            "echo_container_memory_limit_bytes",
            "Memory that this process's container may have; absent: as much as there is.",
            limit if limit is not None and limit < cgroups.NO_LIMIT_BYTES else None,
        )
        yield CounterMetricFamily(
            "echo_container_cpu_periods",
            "Periods in which this process's container could have been kept from the processor for using up its quota.",
            self._told(cgroups.PERIODS),
        )
        yield CounterMetricFamily(
            "echo_container_cpu_throttled_periods", "Of those, the ones in which it was.", self._told(cgroups.THROTTLED)
        )
        yield CounterMetricFamily(
            "echo_container_oom_kills",
            "Processes of this process's container that were killed for want of memory.",
            self._told(cgroups.OOM_KILLS),
        )

    def _told(self, entry: Entry) -> int | None:
        """The number, of the version that has the controller; None where there is none."""
        own = cgroups.groups(entry.controller, self._membership, self._mount)
        return own[0].number(entry) if own else None
