"""What other processes do in tests of caches. Imported by them alone, and by the tests for its functions' names."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import redis
from processes import until

from cache.changes import Changes
from cache.disk import DiskTier
from cache.flight import LEASE_S, Flights
from cache.memory import MemoryTier
from cache.read_through import ReadThrough
from cache.shared import SharedTier
from cache.tags import Tags
from cache.tier import MISS, Entry, Miss, TierFault
from cache.tiered import TieredCache
from echo_tasks import connections

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


_caches: list[TieredCache] = []


def tagged_keep(broker_url: str, key: str, tag: str) -> None:
    """Keep a value with a tag in its memory."""
    client = connections.impatient(broker_url)
    changes = Changes(client)
    tags = Tags(client, changes)
    cache = TieredCache(MemoryTier(1_000_000), tags=tags, changes=changes)
    changes.start()
    until(changes.are_heard, "changes are heard")
    cache.set(key, b"value", 600, stamp=tags.stamp([tag], key))
    _caches.append(cache)


def tagged_has(key: str) -> bool:
    """Whether it has a good value."""
    return _caches[-1].look_up(key) is not None


def read_through(
    store_url: str, key: str, callers: int, takes_s: float, lease_s: float = LEASE_S
) -> list[bytes | None]:
    """What so many threads get at once, with a computation that counts itself at the store, and takes its time."""
    client = redis.Redis.from_url(store_url)
    flights = Flights(client, lease_s=lease_s)
    through = ReadThrough(TieredCache(MemoryTier(1_000_000), [SharedTier(client)]), flights)

    def compute() -> bytes:
        client.incr(f"computed:{key}")
        time.sleep(takes_s)
        return b"value"

    with ThreadPoolExecutor(callers) as pool:
        got = list(pool.map(lambda _: through.get(key, compute, 600), range(callers)))
    client.close()
    return got
