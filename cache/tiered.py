"""All tiers as one: read through the fastest first, promote what is found, write to all."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from cache.tier import MISS, Entry, Miss, Tier, TierFault

REST_S = 2.0
"""How long a tier is left alone after a fault: a server that hangs must not cost every caller its timeout."""

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class TieredCache:
    """Tiers from fastest to slowest. A tier with a fault is a miss: its caller is never failed by a cache."""

    def __init__(self, tiers: Sequence[Tier], clock: Callable[[], float] = time.monotonic) -> None:
        self._tiers = tuple(tiers)
        self._clock = clock
        self._rests_until = dict.fromkeys(self._tiers, float("-inf"))

    def get(self, key: str) -> bytes | Miss:
        """The value under `key`. What a slower tier holds is promoted, with the time it has left."""
        for depth, tier in enumerate(self._tiers):
            entry = self._try(tier, MISS, tier.get, key)
            if entry is not MISS:
                for faster in self._tiers[:depth]:
                    self._try(faster, None, faster.set, key, entry)
                return entry.value
        return MISS

    def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep the value in every tier for `ttl_s` seconds."""
        for tier in self._tiers:
            self._try(tier, None, tier.set, key, Entry(value, ttl_s))

    def delete(self, key: str) -> None:
        """Forget the key in every tier."""
        for tier in self._tiers:
            self._try(tier, None, tier.delete, key)

    def _try(self, tier: Tier, otherwise: T, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the call answers; `otherwise` when the tier rests, or has a fault and rests from now on."""
        if self._clock() < self._rests_until[tier]:
            return otherwise
        try:
            return call(*args, **kwargs)
        except TierFault as fault:
            log.warning("cache tier %s: %s", tier.name, fault)
            self._rests_until[tier] = self._clock() + REST_S
            return otherwise
