"""L2: a Redis-protocol server that every process of the farm shares."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import RedisError

from cache import frames
from cache.tier import MISS, Entry, Miss, Tier, TierFault

log = logging.getLogger(__name__)

_PREFIX = "echo:cache:"


class SharedTier(Tier):
    """Framed values with the server's own expiry and eviction. `client` must not decode responses."""

    name = "l2"

    def __init__(self, client: redis.Redis, *, compress: bool = True) -> None:
        self._redis = client
        self._compress = compress

    def get(self, key: str) -> Entry | Miss:
        with _faults(), self._redis.pipeline(transaction=False) as pipe:
            frame, ttl_ms = pipe.get(_PREFIX + key).pttl(_PREFIX + key).execute()
        if frame is None or ttl_ms <= 0:
            return MISS
        try:
            return Entry(frames.unpack(frame), ttl_ms / 1000)
        except frames.DamagedFrame as error:
            log.warning("damaged value in the shared tier: %s", error)
            self.delete(key)
            return MISS

    def set(self, key: str, entry: Entry) -> None:
        frame = frames.pack(entry.value, compress=self._compress)
        with _faults():
            self._redis.set(_PREFIX + key, frame, px=max(1, round(1000 * entry.ttl_s)))

    def delete(self, key: str) -> None:
        with _faults():
            self._redis.delete(_PREFIX + key)


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise TierFault(str(error)) from error
