"""The disk tier: what outlives a process, its bounds, and the folder that processes and threads share."""

from __future__ import annotations

import random
import stat
import time
from pathlib import Path
from typing import Any

import pytest
import second
from caching import Another

from cache.disk import DiskTier
from cache.tier import MISS, Entry

SMALL, LARGE = 1000, 100_000
"""Values in the database, and values in files."""


def entry(value: bytes | None = b"value", left_s: float = 600.0) -> Entry:
    """An entry that is made now."""
    now = time.time()
    return Entry(value, now, now + left_s, now + left_s)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the tier lies."""
    return tmp_path / "a" / "disk"


@pytest.fixture
def tier(folder: Path) -> DiskTier:
    """A tier with room for all."""
    return DiskTier(folder, 10_000_000)


def files_bytes(folder: Path) -> int:
    """What the values' files and the database take, by the file system's word."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.name == "cache.db" or path.suffix == ".val")


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_it_outlives_its_process(folder: Path, tier: DiskTier, size: int) -> None:
    """What one tier kept is there for the next one on the folder."""
    kept = entry(random.Random(1).randbytes(size))
    tier.set("key", kept)
    tier.close()
    assert DiskTier(folder, 10_000_000).get("key") == kept


def test_it_can_be_used_after_it_was_closed(tier: DiskTier) -> None:
    """Closing ends a connection, not the tier."""
    tier.set("key", entry())
    tier.close()
    assert tier.get("key") is not MISS


def test_nobody_else_may_look(folder: Path, tier: DiskTier) -> None:
    """The folder is its owner's alone, even if it was another's before."""
    folder.mkdir(parents=True, mode=0o755)
    tier.set("key", entry())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(("policy", "kept"), [("lru", "0"), ("lfu", "0"), ("fifo", "19")])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_it_is_bounded_after_each_set(folder: Path, policy: Any, kept: str, size: int) -> None:
    """In bytes; it stays nearly full, what was set last is found, and the policy's favourite, too."""
    limit = 20 * size + 60_000
    tier = DiskTier(folder, limit, policy)
    for number in range(60):
        tier.set(str(number), entry(random.Random(number).randbytes(size)))
        assert files_bytes(folder) <= limit + 40_000
        assert tier.size().bytes <= limit
        assert tier.get(str(number)) is not MISS
        if number == 19:
            favourites = [tier.get(kept) for _ in range(3)]
        if policy != "fifo":
            assert tier.get("0") is not MISS
    size_now = tier.size()
    assert favourites[0] is not MISS
    assert size_now.entries >= 12
    assert size_now.evictions == 60 - size_now.entries


def test_a_value_larger_than_the_tier_is_not_kept(folder: Path) -> None:
    """And drives nothing out, but for what it would have replaced."""
    tier = DiskTier(folder, 200_000)
    tier.set("key", entry())
    tier.set("other", entry())
    tier.set("key", entry(bytes(200_001)))
    assert tier.get("key") is MISS
    assert tier.get("other") is not MISS


def test_what_replaces_an_expired_entry_evicts_none(folder: Path, tier: DiskTier) -> None:
    """Evictions are for want of room alone."""
    for _ in range(3):
        tier.set("key", entry(left_s=0.001))
        while tier.get("key") is not MISS:
            pass
    tier.set("key", entry())
    assert tier.size().evictions == 0


def test_processes_share_a_folder(folder: Path, tier: DiskTier, another: Another) -> None:
    """Each finds what the other keeps, and what it deletes is gone for the other."""
    process = another()
    kept = entry(bytes(LARGE))
    tier.set("key", kept)
    assert process.submit(second.disk_get, folder, "key").result() == kept
    process.submit(second.disk_fill, folder, "theirs ", 3, kept).result()
    assert tier.get("theirs 2") == kept
    tier.delete("key")
    assert process.submit(second.disk_get, folder, "key").result() is MISS


def test_processes_write_at_once(folder: Path, tier: DiskTier, another: Another) -> None:
    """Two that fill the folder at the same time lose nothing."""
    processes = [another(), another()]
    written = [
        process.submit(second.disk_fill, folder, f"{number} ", 100, entry()) for number, process in enumerate(processes)
    ]
    for one in written:
        one.result()
    assert tier.size().entries == 200
