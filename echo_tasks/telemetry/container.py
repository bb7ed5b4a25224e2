"""The container that a process runs in, as far as the process's own control group tells: of every process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_NO_LIMIT_BYTES = 1 << 60
"""Version 1 says as much, or more, where there is none."""


class _Where(NamedTuple):
    """What the kernel tells: by which controller, in which file of either version, and after which word of it."""

    controller: str
    v2: tuple[str, str]
    v1: tuple[str, str]


_MEMORY = _Where("memory", ("memory.current", ""), ("memory.usage_in_bytes", ""))
_IDLE_FILES = _Where("memory", ("memory.stat", "inactive_file"), ("memory.stat", "total_inactive_file"))
_LIMIT = _Where("memory", ("memory.max", ""), ("memory.limit_in_bytes", ""))
_OOM_KILLS = _Where("memory", ("memory.events", "oom_kill"), ("memory.oom_control", "oom_kill"))
_PERIODS = _Where("cpu", ("cpu.stat", "nr_periods"), ("cpu.stat", "nr_periods"))
_THROTTLED = _Where("cpu", ("cpu.stat", "nr_throttled"), ("cpu.stat", "nr_throttled"))


class Container(Collector):
    """Its memory and its processor time. What the kernel does not tell, or not in numbers, is absent."""

    def __init__(self, membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> None:
        self._membership = membership
        self._mount = mount

    def collect(self) -> Iterator[Metric]:
        """All that is there now."""
        memory, idle_files, limit = self._told(_MEMORY), self._told(_IDLE_FILES), self._told(_LIMIT)
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
            limit if limit is not None and limit < _NO_LIMIT_BYTES else None,
        )
        yield CounterMetricFamily(
            "echo_container_cpu_periods",
            "Periods in which this process's container could have been kept from the processor for using up its quota.",
            self._told(_PERIODS),
        )
        yield CounterMetricFamily(
            "echo_container_cpu_throttled_periods", "Of those, the ones in which it was.", self._told(_THROTTLED)
        )
        yield CounterMetricFamily(
            "echo_container_oom_kills",
            "Processes of this process's container that were killed for want of memory.",
            self._told(_OOM_KILLS),
        )

    def _told(self, where: _Where) -> int | None:
        """The number, of the version that has the controller; None where there is none."""
        memberships = _read(self._membership).splitlines()
        for line in memberships:
            _, names, group = f"{line}::".split(":")[:3]
            if where.controller in names.split(","):
                roots = (self._mount / where.controller, self._mount / names)
                return next((found for root in roots if (found := _number(root, group, *where.v1)) is not None), None)
        groups = [line.removeprefix("0::") for line in memberships if line.startswith("0::")]
        return _number(self._mount, groups[0], *where.v2) if groups else None


def _number(root: Path, group: str, file: str, word: str) -> int | None:
    """What stands in a file of a group; in that of the root where no more than a group of a container is mounted."""
    folder = root / group.lstrip("/")
    text = _read((folder if folder.is_dir() else root) / file)
    found = re.search(rf"^{word}{' ' if word else ''}(\d+)$", text, re.M)
    return int(found[1]) if found else None


def _read(path: Path) -> str:
    """The file's text; nothing for one that is not there, may not be read, or is no file."""
    try:
        return path.read_text(errors="replace")
    except (OSError, ValueError):
        return ""
