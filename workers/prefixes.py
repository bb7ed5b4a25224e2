"""States by the tokens that made them: the longest known beginning of a prompt needs no prefill.

A state is a cache of its tokens. Its key is a hash of the model, the layout, what came before the first token and all
of the tokens, so that sessions, shared templates and long documents are the same mechanism, and any worker finds what
another has kept. Losing one costs time, never correctness.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from queue import Full, Queue
from typing import NamedTuple

import numpy as np

from cache.tier import Level
from cache.tiered import TieredCache
from echo_tasks import logs
from echo_tasks.telemetry import states as telemetry
from workers.marks import MOST_MARKS, STRIDE_TOKENS, Asked, Beginning, Mark, roundness, strides, worth_keeping
from workers.slots import State
from workers.states import StateFormat, UnusableState

_UNWRITTEN = 64
"""States that wait to be written, at most; what is more is dropped, and computed again should it be wanted."""

log = logs.get(__name__)


class Found(NamedTuple):
    """The state after the first `tokens` of a prompt, and the tier that had it; None, after none."""

    tokens: int
    state: State | None
    tier: Level | None = None


class Prefixes:
    """Finds and keeps states in a cache of bytes. Threads may share it."""

    def __init__(
        self,
        cache: TieredCache,
        states: StateFormat,
        *,
        ttl_s: float,
        spare: TieredCache | None = None,
        stride_tokens: int = STRIDE_TOKENS,
    ) -> None:
        """`spare`, a cache of this process alone, is for states that may never be wanted; their names have ranks."""
        self._cache = cache
        self._spare = spare or cache
        self._states = states
        self._ttl_s = ttl_s
        self._stride = stride_tokens
        self._asked = Asked()
        self._unwritten: Queue[Callable[[], None] | None] = Queue(_UNWRITTEN)
        self._thread = threading.Thread(target=self._write, name="states", daemon=True)

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, and end the thread."""
        if self._thread.is_alive():
            self._unwritten.put(None)
            self._thread.join()

    def settle(self) -> None:
        """Wait until all is written that waits."""
        self._unwritten.join()

    def beginnings(self, tokens: Sequence[int], marks: Sequence[int], after: bytes = b"") -> list[Beginning]:
        """The beginnings of a prompt that end at its strides or the last of its marks, which ascend.

        `after`, of at most 64 bytes, tells apart what a sequence may have seen before its first token.
        """
        digest = hashlib.blake2b(self._states.identity, digest_size=16, key=after)
        data = np.asarray(tokens, dtype="<u4").tobytes()
        found, start = [], 0
        for end in sorted({*marks[-MOST_MARKS:], *strides(len(tokens), self._stride)}):
            digest.update(data[4 * start : 4 * end])
            found.append(Beginning(end, f"state:{digest.hexdigest()}", roundness(end, self._stride)))
            start = end
        return found

    def find(self, beginnings: Sequence[Beginning]) -> Found:
        """The longest of the beginnings that is known."""
        for beginning in reversed(beginnings):
            found = self._spared(beginning) or self._unpacked(self._cache, beginning.key, beginning.tokens)
            if found is not None:
                telemetry.STATE_LOOKUPS.labels("hit").inc()
                telemetry.STATE_HITS.labels(found.tier).inc()
                telemetry.STATE_TOKENS_REUSED.inc(beginning.tokens)
                return found
        if beginnings:
            telemetry.STATE_LOOKUPS.labels("miss").inc()
        return Found(0, None)

    def worth_keeping(self, beginnings: Sequence[Beginning], *, found: int, marked: int | None) -> list[Mark]:
        """What to keep of a prompt, of which the state after `found` tokens is known; it counts as asked for."""
        again = self._asked.again(beginnings)
        return worth_keeping(beginnings, found=found, marked=marked, again=again)

    def owned(self, marks: Sequence[Mark], owner: str | None, *, but: int | None) -> list[Mark]:
        """The marks with the stamp of their owner's tag, but for that after so many tokens; those that can be kept."""
        theirs = [mark for mark in marks if mark.tokens != but]
        if owner is None or not theirs:
            return [*marks]
        stamp = self._cache.stamp([owner], theirs[-1].key)
        if stamp is None:
            return [mark for mark in marks if mark.tokens == but]
        return [mark if mark.tokens == but else replace(mark, stamp=stamp) for mark in marks]

    def keep(self, mark: Mark, state: State) -> None:
        """Have a state written soon. Does not block."""
        telemetry.STATES_KEPT.inc()
        self._soon(partial(self._keep, mark, state))

    def _spared(self, beginning: Beginning) -> Found | None:
        """A state that was spare until now, when it is asked for."""
        for name in beginning.spare_names:
            found = self._unpacked(self._spare, name, beginning.tokens)
            if found is not None:
                self._soon(partial(self._promote, name, beginning.key))
                return found
        return None

    def _unpacked(self, cache: TieredCache, name: str, tokens: int) -> Found | None:
        packed = cache.look_up(name)
        if packed is None or packed.value is None:
            return None
        try:
            return Found(tokens, self._states.unpack(packed.value, tokens), packed.level)
        except UnusableState as error:
            telemetry.STATES_REFUSED.labels(error.reason).inc()
            log.warning("state refused", reason=error.reason, error=str(error))
            cache.delete(name)
            return None

    def _soon(self, write: Callable[[], None]) -> None:
        try:
            self._unwritten.put_nowait(write)
        except Full:
            telemetry.STATES_DROPPED.inc()

    def _keep(self, mark: Mark, state: State) -> None:
        cache = self._spare if mark.is_spare else self._cache
        cache.set(mark.name, self._states.pack(state, mark.tokens), self._ttl_s, stamp=mark.stamp)

    def _promote(self, name: str, key: str) -> None:
        found = self._spare.look_up(name, counted=False)
        if found is not None and found.value is not None:
            self._cache.set(key, found.value, self._ttl_s, stamp=found.stamp)
            self._spare.delete(name)

    def _write(self) -> None:
        while write := self._unwritten.get():
            try:
                write()
            except Exception:  # the outermost loop of the thread
                log.exception("state not kept")
            finally:
                self._unwritten.task_done()
