"""What other processes do in tests of caches. Imported by them alone, and by the tests for its functions' names."""

from __future__ import annotations

import os
from pathlib import Path

from cache.disk import DiskTier
from cache.tier import MISS, Entry, Miss, TierFault

_disks: dict[Path, DiskTier] = {}


def pid() -> int:
    """This process."""
    return os.getpid()


def disk_get(folder: Path, key: str) -> Entry | Miss:
    """What its disk tier on the folder has; the tier is kept open."""
    return _disk(folder).get(key)


def disk_sees(folder: Path, key: str) -> bool:
    """Whether its disk tier has the key; a fault is none."""
    try:
        return disk_get(folder, key) is not MISS
    except TierFault:
        return False


def disk_fill(folder: Path, prefix: str, count: int, entry: Entry) -> None:
    """Set so many keys."""
    for number in range(count):
        _disk(folder).set(f"{prefix}{number}", entry)


def _disk(folder: Path) -> DiskTier:
    return _disks.setdefault(folder, DiskTier(folder, 10_000_000))
