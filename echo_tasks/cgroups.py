"""The control groups of this process, of either version, as files that tell their limits and their use.

Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/*.rst of Linux.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

MOUNT, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

Controller = Literal["cpu", "memory"]


class Entry(NamedTuple):
    """What the kernel tells: by which controller, and in which file of either version, in a line of which form."""

    controller: Controller
    v2: tuple[str, str]
    v1: tuple[str, str]


_NUMBER = r"(\d+)"

MEMORY = Entry("memory", ("memory.current", _NUMBER), ("memory.usage_in_bytes", _NUMBER))
IDLE_FILES = Entry("memory", ("memory.stat", r"inactive_file (\d+)"), ("memory.stat", r"total_inactive_file (\d+)"))
MEMORY_LIMIT = Entry("memory", ("memory.max", _NUMBER), ("memory.limit_in_bytes", _NUMBER))
OOM_KILLS = Entry("memory", ("memory.events", r"oom_kill (\d+)"), ("memory.oom_control", r"oom_kill (\d+)"))
PERIODS = Entry("cpu", ("cpu.stat", r"nr_periods (\d+)"), ("cpu.stat", r"nr_periods (\d+)"))
THROTTLED = Entry("cpu", ("cpu.stat", r"nr_throttled (\d+)"), ("cpu.stat", r"nr_throttled (\d+)"))
QUOTA = Entry("cpu", ("cpu.max", r"(\d+) \d+"), ("cpu.cfs_quota_us", _NUMBER))
PERIOD = Entry("cpu", ("cpu.max", r"\d+ (\d+)"), ("cpu.cfs_period_us", _NUMBER))

NO_LIMIT_BYTES = 1 << 60
"""Version 1 says as much, or more, where there is none."""


class Group(NamedTuple):
    """The folder of a group, and the version of control groups that it is of."""

    folder: Path
    version: int

    def number(self, entry: Entry) -> int | None:
        """What an entry says; None where that is no number, or not told."""
        file, form = entry.v2 if self.version == 2 else entry.v1
        found = re.search(rf"^{form}$", read(self.folder / file), re.M)
        return int(found[1]) if found else None


def groups(controller: Controller, membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> Sequence[Group]:
    """This process's group by a controller, and then all that are around it; none where nothing is told of it.

    In a container no more than its own group may be mounted, as the root.
    """
    lines = [line.split(":", 2) for line in read(membership).splitlines() if line.count(":") >= 2]
    for _, names, own in lines:
        if controller in names.split(","):
            roots = [root for root in (mount / controller, mount / names) if root.is_dir()]
            return _up(roots[0], own, 1) if roots else []
    unified = [own for number, names, own in lines if (number, names) == ("0", "")]
    return _up(mount, unified[0], 2) if unified else []


def read(path: Path) -> str:
    """The file's text; nothing for one that is not there, may not be read, or is no file."""
    try:
        return path.read_text(errors="replace")
    except (OSError, ValueError):
        return ""


def _up(root: Path, own: str, version: int) -> Sequence[Group]:
    folder = root / own.lstrip("/")
    if not folder.is_dir():
        folder = root
    return [Group(one, version) for one in (folder, *folder.parents) if one.is_relative_to(root)]
