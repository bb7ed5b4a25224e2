"""L2: a Redis-protocol server that every process of the farm shares."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import RedisError

from cache import frames
from cache.tier import MISS, DamagedEntry, Entry, Miss, Size, Tier, TierFault, key_bytes

log = logging.getLogger(__name__)

_PREFIX = b"echo:cache:"
_CLEARED_AT_ONCE = 500


class SharedTier(Tier):
    """Framed values with the server's own expiry and eviction. `client` must not decode responses."""

    name = "l2"
    is_everybodys = True

    def __init__(self, client: redis.Redis, *, compress: bool = True, clock: Callable[[], float] = time.time) -> None:
        self._redis = client
        self._compress = compress
        self._clock = clock
        self._saved_bytes = 0

    def get(self, key: str) -> Entry | Miss:
        with _faults():
            frame = self._redis.get(_PREFIX + key_bytes(key))
        if frame is None:
            return MISS
        try:
            entry = frames.unpack(*frames.split(frame))
        except frames.DamagedFrame as error:
            self.delete(key)
            raise DamagedEntry(str(error)) from error
        return entry if entry.expires_at > self._clock() else MISS

    def set(self, key: str, entry: Entry) -> None:
        self._write(key, entry, only_if_new=False)

    def add(self, key: str, entry: Entry) -> None:
        self._write(key, entry, only_if_new=True)

    def delete(self, key: str) -> bool:
        with _faults():
            return bool(self._redis.delete(_PREFIX + key_bytes(key)))

    def clear(self) -> int:
        cleared = 0
        with _faults():
            found = self._redis.scan_iter(match=_PREFIX + b"*", count=_CLEARED_AT_ONCE)
            while keys := list(itertools.islice(found, _CLEARED_AT_ONCE)):
                cleared += int(self._redis.unlink(*keys))
        return cleared

    def sweep(self) -> int:
        return 0  # the server's own work

    def size(self) -> Size:
        """The whole server's: it counts for all its clients."""
        with _faults(), self._redis.pipeline(transaction=False) as pipe:
            entries, memory, stats = pipe.dbsize().info("memory").info("stats").execute()
        return Size(int(entries), int(memory["used_memory"]), int(stats["evicted_keys"]), self._saved_bytes)

    def _write(self, key: str, entry: Entry, *, only_if_new: bool) -> None:
        left_ms = round(1000 * (entry.expires_at - self._clock()))
        if left_ms <= 0:
            return
        head, body = frames.pack(entry, compress=self._compress)
        with _faults():
            written = self._redis.set(_PREFIX + key_bytes(key), head + body, px=left_ms, nx=only_if_new)
        if written and entry.value is not None:
            self._saved_bytes += len(entry.value) - len(body)


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise TierFault(str(error)) from error
