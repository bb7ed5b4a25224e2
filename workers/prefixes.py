"""States by the tokens that made them: the longest known beginning of a prompt needs no prefill.

A state is a cache of its tokens. Its key is a hash of the model, the layout and all of them, so that sessions and
shared templates are the same mechanism, and any worker finds what another has kept. Losing one costs time, never
correctness.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from queue import Full, Queue
from typing import NamedTuple

import numpy as np

from cache.tier import MISS
from cache.tiered import TieredCache
from echo_tasks import logs, telemetry
from workers.slots import State
from workers.states import StateFormat, UnusableState

LOOKED_AT = 16
"""Beginnings that are looked up, longest first: each may cost a round trip."""

_UNWRITTEN = 64
"""States that wait to be written, at most; what is more is dropped, and computed again should it be wanted."""

log = logs.get(__name__)


class Found(NamedTuple):
    """The state after the first `tokens` of a prompt; None, after none."""

    tokens: int
    state: State | None


class Prefixes:
    """Finds and keeps states in a cache of bytes. Threads may share it."""

    def __init__(self, cache: TieredCache, states: StateFormat, *, ttl_s: float) -> None:
        self._cache = cache
        self._states = states
        self._ttl_s = ttl_s
        self._unwritten: Queue[tuple[str, int, State] | None] = Queue(_UNWRITTEN)
        self._thread = threading.Thread(target=self._write, name="states", daemon=True)

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end the thread."""
        if self._thread.is_alive():
            self._unwritten.put(None)
            self._thread.join()

    def keys(self, tokens: Sequence[int], marks: Sequence[int]) -> dict[int, str]:
        """The key of each of the beginnings that end at `marks`, which ascend."""
        digest = hashlib.blake2b(self._states.identity, digest_size=16)
        data = np.asarray(tokens, dtype="<u4").tobytes()
        found, start = {}, 0
        for mark in marks:
            digest.update(data[4 * start : 4 * mark])
            found[mark], start = f"state:{digest.hexdigest()}", mark
        return found

    def find(self, keys: dict[int, str]) -> Found:
        """The longest of the beginnings that is known."""
        for mark in sorted(keys, reverse=True)[:LOOKED_AT]:
            packed = self._cache.get(keys[mark])
            if packed is MISS:
                continue
            try:
                state = self._states.unpack(packed, mark)
            except UnusableState as error:
                telemetry.STATES_REFUSED.labels(error.reason).inc()
                log.warning("state refused", reason=error.reason, error=str(error))
                self._cache.delete(keys[mark])
                continue
            telemetry.STATE_LOOKUPS.labels("hit").inc()
            telemetry.STATE_TOKENS_REUSED.inc(mark)
            return Found(mark, state)
        if keys:
            telemetry.STATE_LOOKUPS.labels("miss").inc()
        return Found(0, None)

    def keep(self, key: str, tokens: int, state: State) -> None:
        """Have a state written soon. Does not block."""
        telemetry.STATES_KEPT.inc()
        try:
            self._unwritten.put_nowait((key, tokens, state))
        except Full:
            telemetry.STATES_DROPPED.inc()

    def _write(self) -> None:
        while kept := self._unwritten.get():
            key, tokens, state = kept
            try:
                self._cache.set(key, self._states.pack(state, tokens), self._ttl_s)
            except Exception:  # the outermost loop of the thread
                log.exception("state not kept")
