"""`python -m bench cache`: a hit in each tier, through the whole tiered path, beside the library underneath alone."""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import diskcache
import redis
from cachetools import LRUCache

from bench.machine import described
from bench.site import store
from cache.disk import DiskTier
from cache.memory import ENTRY_BYTES, MemoryTier
from cache.shared import SharedTier
from cache.tier import Tier
from cache.tiered import TieredCache

SIZES = {"4 KiB": 4096, "2.4 MB": 2_400_000}
"""An answer, and a state of the 0.1B shape."""

_LARGE = 1_000_000
_ROOM_BYTES = 1 << 30
_TTL_S = 3600.0

Call = Callable[[str], object]


@dataclass(slots=True)
class Row:
    """A hit, ours and the peer's, by the microseconds that one took in each round."""

    name: str
    peer: str
    keys: Sequence[str]
    ours: Call
    theirs: Call
    calls: int
    ours_us: list[float] = field(default_factory=list)
    theirs_us: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        return [mine / peer for mine, peer in zip(self.ours_us, self.theirs_us, strict=True)]

    def measure(self, calls_ratio: float) -> None:
        """One round of each, by turns."""
        calls = math.ceil(calls_ratio * self.calls)
        self.ours_us.append(_microseconds(self.ours, self.keys, calls))
        self.theirs_us.append(_microseconds(self.theirs, self.keys, calls))

    def __str__(self) -> str:
        cells = (self.name, _spread(self.ours_us), self.peer, _spread(self.theirs_us), _spread(self.ratios))
        return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench cache", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls-ratio", type=float, default=1.0, help="share of the usual calls in each round")
    parser.add_argument("--json", type=Path, help="write what was measured there, too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        client = redis.Redis.from_url(running.enter_context(store(Path(folder))))
        rows = [_memory(), *_shared(client), *_disk(Path(folder))]
        for _ in range(options.rounds + 1):  # the first one warms
            for row in rows:
                row.measure(options.calls_ratio)
    print(f"{described()}; medians of {options.rounds} rounds by turns (least to most)\n")
    print("| hit | this cache, µs | peer | peer, µs | ratio |\n|---|---|---|---|---|")
    print("\n".join(map(str, rows)))
    if options.json:
        options.json.write_text(json.dumps({row.name: row.ratios[1:] for row in rows}))


def _memory() -> Row:
    keys, value, lock = _keys(100), os.urandom(SIZES["4 KiB"]), threading.Lock()
    peer: LRUCache[str, bytes] = LRUCache(_ROOM_BYTES, getsizeof=lambda value: sys.getsizeof(value) + ENTRY_BYTES)
    cache = TieredCache(MemoryTier(_ROOM_BYTES))
    for key in keys:
        cache.set(key, value, _TTL_S)
        peer[key] = value

    def locked(key: str) -> object:
        with lock:
            return peer.get(key)

    return Row("L1, 4 KiB", "cachetools LRUCache.get under a lock", keys, cache.get, locked, 100_000)


def _shared(client: redis.Redis) -> Iterator[Row]:
    for name, size in SIZES.items():
        keys, value = _keys(100 if size < _LARGE else 20), os.urandom(size)
        for key in keys:
            client.set(key, value)
        through = _through(SharedTier(client, compress=False), keys, value)
        yield Row(f"L2, {name}", "redis-py GET", keys, through, client.get, _calls(size))


def _disk(folder: Path) -> Iterator[Row]:
    for name, size in SIZES.items():
        keys, value = _keys(100 if size < _LARGE else 20), os.urandom(size)
        peer = diskcache.Cache(str(folder / f"peer-{size}"), eviction_policy="least-recently-used")
        for key in keys:
            peer.set(key, value, expire=_TTL_S)
        through = _through(DiskTier(folder / f"ours-{size}", _ROOM_BYTES), keys, value)
        yield Row(f"L3, {name}", "diskcache Cache.get, the same policy", keys, through, peer.get, _calls(size))


def _through(tier: Tier, keys: Sequence[str], value: bytes) -> Call:
    """A hit in the tier through the whole path: missed in memory, found, and promoted."""
    memory = MemoryTier(_ROOM_BYTES)
    cache = TieredCache(memory, [tier])
    for key in keys:
        cache.set(key, value, _TTL_S)

    def hit(key: str) -> object:
        memory.delete(key)
        return cache.get(key)

    return hit


def _keys(count: int) -> list[str]:
    return [f"answer:{number:064x}" for number in range(count)]


def _calls(size: int) -> int:
    return 100 if size >= _LARGE else 2_000


def _microseconds(call: Call, keys: Sequence[str], calls: int) -> float:
    """Of one call, whose value is held for a while, as whoever asks for one does."""
    asked = [keys[number % len(keys)] for number in range(calls)]
    held = {}
    started = time.perf_counter()
    for key in asked:
        held[key] = call(key)
    if not all(isinstance(value, bytes) for value in held.values()):
        raise RuntimeError("a value was lost meanwhile")
    return (time.perf_counter() - started) / calls * 1e6


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values[1:]):.2f} ({min(values[1:]):.2f} to {max(values[1:]):.2f})"
