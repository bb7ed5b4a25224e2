"""All tiers as one: read through the fastest first, promote what is found, write to all."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cache.tier import MISS, Entry, Miss, Tier, TierFault

log = logging.getLogger(__name__)


class TieredCache:
    """Tiers from fastest to slowest. A tier with a fault is a miss: its caller is never failed by a cache."""

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self._tiers = tuple(tiers)

    def get(self, key: str) -> bytes | Miss:
        """The value under `key`. What a slower tier holds is promoted, with the time it has left."""
        for depth, tier in enumerate(self._tiers):
            entry = self._try_get(tier, key)
            if entry is not MISS:
                for faster in self._tiers[:depth]:
                    self._try_set(faster, key, entry)
                return entry.value
        return MISS

    def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep the value in every tier for `ttl_s` seconds."""
        for tier in self._tiers:
            self._try_set(tier, key, Entry(value, ttl_s))

    def delete(self, key: str) -> None:
        """Forget the key in every tier."""
        for tier in self._tiers:
            try:
                tier.delete(key)
            except TierFault as fault:
                log.warning("cache tier %s: %s", tier.name, fault)

    def _try_get(self, tier: Tier, key: str) -> Entry | Miss:
        try:
            return tier.get(key)
        except TierFault as fault:
            log.warning("cache tier %s: %s", tier.name, fault)
            return MISS

    def _try_set(self, tier: Tier, key: str, entry: Entry) -> None:
        try:
            tier.set(key, entry)
        except TierFault as fault:
            log.warning("cache tier %s: %s", tier.name, fault)
