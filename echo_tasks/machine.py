"""This machine, as a process may use it: its cores, its memory, and what tells it apart from others.

A container has its share of both by control groups: the tightest limit of its own and of all around it counts.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from echo_tasks import cgroups
from echo_tasks.cgroups import MEMBERSHIP, MOUNT

_VMSTAT = Path("/proc/vmstat")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

GIB = 2**30

RESERVE = 0.1
"""Share of the memory that is left to all that is not a worker."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that there are in all, and those that may still be taken: what files are only cached in counts as free."""

    total: int
    available: int

    @property
    def usable(self) -> int:
        """What workers may take in all."""
        return round((1 - RESERVE) * self.total)

    @property
    def free(self) -> int:
        """What they may still take; below 0: something has taken of the reserve."""
        return self.available - (self.total - self.usable)


def cores(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> int:
    """The cores of this process's affinity, and no more than the quotas of its control groups let it have."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(membership, mount))]))


def memory(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> Memory:
    """The machine's memory, and no more than the limits of this process's control groups let it have."""
    whole = psutil.virtual_memory()
    total, available = whole.total, whole.available
    for limit, used in _limits(membership, mount):
        total, available = min(total, limit), min(available, limit - used)
    return Memory(total, max(0, available))


def killed_for_memory() -> int:
    """How many processes the kernel has killed for want of memory since it started; of containers' limits, too."""
    found = re.search(r"^oom_kill (\d+)$", cgroups.read(_VMSTAT), re.M)
    return int(found[1]) if found else 0


def identity() -> str:
    """The same for all processes of a running kernel, whatever container they are in; empty where none is told."""
    return cgroups.read(_BOOT_ID).strip()


def _quotas(membership: Path, mount: Path) -> Iterator[float]:
    """The processor time a second of this process's control group, and of every one around it that has a limit."""
    for group in cgroups.groups("cpu", membership, mount):
        quota, period = group.number(cgroups.QUOTA), group.number(cgroups.PERIOD)
        if quota and period:
            yield quota / period


def _limits(membership: Path, mount: Path) -> Iterator[tuple[int, int]]:
    """The limit of bytes, and those in use, of this process's control group and of every one around it."""
    for group in cgroups.groups("memory", membership, mount):
        limit, used = group.number(cgroups.MEMORY_LIMIT), group.number(cgroups.MEMORY)
        if limit is not None and used is not None:
            yield limit, used - (group.number(cgroups.IDLE_FILES) or 0)
