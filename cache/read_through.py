"""Values that are computed when they are missing: once, however many ask; old ones may be served meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from cache.flight import Flights
from cache.tier import MISS, Miss
from cache.tiered import Found, TieredCache

JITTER_RATIO = 0.1
"""The share of its time by which a value expires early, by chance: what was kept together does not expire together."""

log = logging.getLogger(__name__)

Compute = Callable[[], bytes | None]


class ReadThrough:
    """A tiered cache whose misses are computed. Threads may share it."""

    def __init__(self, cache: TieredCache, flights: Flights) -> None:
        self._cache = cache
        self._flights = flights

    def get(
        self,
        key: str,
        compute: Compute,
        ttl_s: float,
        *,
        tags: Sequence[str] = (),
        stale_s: float = 0.0,
        nothing_ttl_s: float | None = None,
        jitter_ratio: float = JITTER_RATIO,
    ) -> bytes | None:
        """The value under `key`, computed if it is missing: by one caller of all threads and processes. Blocks.

        A value past its time is served for `stale_s` seconds more, while it is computed anew in the background. None
        from `compute` is a result, too: there is nothing, which is kept for `nothing_ttl_s` (`ttl_s`). What it raises
        is raised, and kept by nobody.
        """

        def computed() -> Found | bytes | None:
            stamp = self._cache.stamp(tags, key)
            value = compute()
            if stamp is not None:
                kept_s = ttl_s if value is not None or nothing_ttl_s is None else nothing_ttl_s
                self._cache.set(key, value, kept_s, stamp=stamp, stale_s=stale_s, jitter_ratio=jitter_ratio)
            return value

        found = self._cache.look_up(key)
        if found is None:
            answer = self._flights.join(key, computed, lambda: self._fresh(key))
            return answer.value if isinstance(answer, Found) else answer
        if found.is_stale and not self._flights.is_under_way(key):
            threading.Thread(target=self._refresh, args=(key, computed), name="cache-refresh", daemon=True).start()
        return found.value

    def _refresh(self, key: str, computed: Callable[[], Found | bytes | None]) -> None:
        try:
            self._flights.join(key, computed, lambda: self._fresh(key))
        except Exception:  # the thread's outermost call: the old value is served on, and the next caller tries again
            log.exception("stale value not computed anew")

    def _fresh(self, key: str) -> Found | Miss:
        """What another one has kept meanwhile; the asking has been counted before."""
        found = self._cache.look_up(key, counted=False, only_fresh=True)
        return MISS if found is None else found
