"""The disk tier and what others write into its folder: pickles, broken files, broken rows, a broken database."""

from __future__ import annotations

import os
import pickle
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diskcache
import pytest
import second
from caching import Another
from processes import until

from cache.disk import DiskTier, RawDisk
from cache.frames import DamagedFrame
from cache.memory import MemoryTier
from cache.tier import MISS, DamagedEntry, Entry
from cache.tiered import TieredCache

LARGE = 100_000
"""Bytes of a value in a file."""


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


class Executed:
    """Pickled, this makes a file once it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("size", [0, LARGE])
def test_a_pickled_value_is_not_unpickled(folder: Path, tier: DiskTier, tmp_path: Path, size: int) -> None:
    """Somebody else's row is damage: a fault of the entry, gone afterwards, and never executed."""
    tier.set("mine", entry())
    mark = tmp_path / "executed"
    with diskcache.Cache(str(folder)) as plain:
        plain.set(b"key", [Executed(mark), bytes(size)])
    with pytest.raises(DamagedEntry):
        tier.get("key")
    assert tier.get("key") is MISS
    assert tier.get("mine") is not MISS
    assert not mark.exists()
    with diskcache.Cache(str(folder)) as plain:
        plain.set(b"key", [Executed(mark)])
        plain.get(b"key")
    assert mark.exists(), "the payload is real"


def test_a_pickled_key_is_not_unpickled(folder: Path, tier: DiskTier, tmp_path: Path) -> None:
    """Nor is a row's key, by anything that the tier does with it."""
    mark = tmp_path / "executed"
    with diskcache.Cache(str(folder)) as plain:
        plain.set((Executed(mark),), b"value")
        plain.set("text", b"value")
    tier.set("mine", entry())
    assert [tier.get(key) for key in ("", "text")] == [MISS, MISS]
    assert (tier.sweep(), tier.size().entries, tier.clear()) == (0, 3, 3)
    assert not mark.exists()


def test_nothing_is_ever_pickled(tmp_path: Path) -> None:
    """What is not bytes is a TypeError when it is written, and damage when it is read."""
    disk = RawDisk(str(tmp_path), min_file_size=1000)
    for wrong in (None, 1, 1.5, "text", ("a",), bytearray(b"a"), memoryview(b"a")):
        with pytest.raises(TypeError, match="is bytes"):
            disk.put(wrong)
        with pytest.raises(TypeError, match="is bytes"):
            disk.store(wrong, False)
    with pytest.raises(TypeError, match="is bytes"):
        disk.store(b"a", True)
    for mode, filename, value in [(0, None, None), (1, None, "text"), (1, None, 5), (3, "a", None), (2, None, None)]:
        with pytest.raises(DamagedFrame):
            disk.fetch(mode, filename, value, False)
    for key, raw in [(pickle.dumps("a"), False), ("text", True), (5, True)]:
        with pytest.raises(DamagedFrame):
            disk.get(key, raw)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("broken", ["turned", "cut", "empty"])
def test_a_broken_value_file_is_noticed(folder: Path, tier: DiskTier, broken: str) -> None:
    """One entry is damaged, and gone; the tier is well."""
    tier.set("key", entry(random.Random(1).randbytes(LARGE)))
    (path,) = folder.rglob("*.val")
    data = bytearray(path.read_bytes())
    data[LARGE // 2] ^= 1
    path.write_bytes(data if broken == "turned" else data[: LARGE - 1 if broken == "cut" else 0])
    with pytest.raises(DamagedEntry):
        tier.get("key")
    assert tier.get("key") is MISS
    assert not path.exists()


def test_a_lost_value_file_is_a_miss(folder: Path, tier: DiskTier) -> None:
    """And can be written again."""
    tier.set("key", entry(bytes(LARGE)))
    (path,) = folder.rglob("*.val")
    path.unlink()
    assert tier.get("key") is MISS
    tier.set("key", entry())
    assert tier.get("key") is not MISS


@pytest.mark.parametrize(
    "change",
    ["tag = NULL", "tag = 'text'", "value = 5", "mode = 9", "mode = 2", "tag = zeroblob(99)", "expire_time = 'x'"],
)
def test_a_row_that_was_changed_is_noticed(folder: Path, tier: DiskTier, change: str) -> None:
    """Whatever column it was: a damaged entry, or a miss."""
    tier.set("key", entry(b"original"))
    with sqlite3.connect(folder / "cache.db") as database:
        database.execute(f"UPDATE Cache SET {change}")  # noqa: S608
    database.close()
    try:
        found = tier.get("key")
    except DamagedEntry:
        assert tier.get("key") is MISS
    else:
        assert found is MISS or found.value == b"original"


def overwrite(database: Path, how: str) -> None:
    """Break a database, under the hands of whoever has it open."""
    size = database.stat().st_size
    with database.open("r+b" if how == "in place" else "wb") as file:
        file.write(
            {"shorter": b"garbage" * 99, "longer": random.Random(1).randbytes(2 * size), "empty": b""}.get(
                how, b"garbage" * (size // 7)
            )
        )


@pytest.mark.parametrize("how", ["shorter", "longer", "empty", "in place"])
@pytest.mark.parametrize("when", ["open", "closed"])
def test_a_broken_database_is_begun_anew(folder: Path, another: Another, how: str, when: str) -> None:
    """By a process that may have it open: none is killed, no caller is failed, and soon the tier keeps again."""
    process = another()
    process.submit(second.disk_fill, folder, "old ", 1000, entry(bytes(1000))).result()
    mine = DiskTier(folder, 10_000_000)
    if when == "open":
        assert mine.get("old 1") is not MISS
    overwrite(folder / "cache.db", how)
    ticks = iter(range(0, 10**9, 10))
    cache = TieredCache(MemoryTier(0), [mine], clock=lambda: time.time() + next(ticks))

    def keeps() -> bool:
        cache.set("new", b"value" * 30_000, 10**6)
        return cache.get("new") == b"value" * 30_000

    until(keeps, "the tier keeps", 10)
    for number in range(1000):
        cache.get(f"old {number}")
    until(keeps, "the tier keeps", 10)
    process.submit(second.pid).result()  # it lives
    until(lambda: process.submit(second.disk_sees, folder, "new").result(), "the other process sees it", 10)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_folder_that_was_removed_is_made_again(folder: Path, tier: DiskTier, another: Another) -> None:
    """Soon, by whoever writes next, and the others find what is written then."""
    process = another()
    tier.set("key", entry())
    assert process.submit(second.disk_sees, folder, "key").result()
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink()
    folder.rmdir()

    def is_kept() -> bool:
        cache = TieredCache(MemoryTier(1), [tier])  # as its callers do, for whom a fault is a miss
        cache.set("key", b"value", 60)
        return bool(process.submit(second.disk_sees, folder, "key").result())

    until(is_kept, "what is written is found", 10)


@pytest.mark.parametrize("seed", range(12))
def test_any_damage_to_the_database_is_survived(folder: Path, seed: int) -> None:
    """Bytes turned anywhere: no caller is failed or given a wrong value, and the tier keeps again."""
    chance = random.Random(seed)
    tier = DiskTier(folder, 10_000_000)
    kept = {f"{number} key": chance.randbytes(chance.choice([10, 3000, 40_000])) for number in range(30)}
    for key, value in kept.items():
        tier.set(key, entry(value))
    tier.close()
    database = folder / "cache.db"
    data = bytearray(database.read_bytes())
    for _ in range(chance.choice([1, 20, 400])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    database.write_bytes(data)
    ticks = iter(range(0, 10**9, 10))
    cache = TieredCache(MemoryTier(0), [DiskTier(folder, 10_000_000)], clock=lambda: time.time() + next(ticks))
    for key, value in kept.items():
        assert cache.get(key) in {MISS, value}
        cache.delete(key)
    cache.sweep()
    cache.statistics()

    def keeps() -> bool:
        cache.set("key", b"value", 10**6)
        return cache.get("key") == b"value"

    until(keeps, "the tier keeps again", 10)
