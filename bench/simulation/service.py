"""How fast a worker works, as measured of this project's (README, "How fast it is"; docs/log.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DECODED_PER_S = {1: 94.0, 8: 583.0, 32: 1039.0, 64: 1137.0}
"""Tokens a second by rows in the batch: `python -m bench engine`, 0.1B, bf16, two cores of an EPYC."""

READ_PER_S = 2062.0
"""Tokens of a prompt a second, of the same table."""


ON_TWO_CORES = {1: 1.0, 2: 0.31, 10: 0.067}
"""Jobs a second of so many workers of two threads each on the same two cores, as multiples of one's: 23.5, 7.4 and 1.8
beside 27, echo-mini over HTTP, 2026-12-01. Threads of several processes wait for one another."""


@dataclass(frozen=True, slots=True)
class Service:
    """A worker: its slots, what it does in a second by how many of them are busy, and how long it takes to begin.

    `slots` is the default of ECHO_SLOTS, `startup_s` the time from the order to the first heartbeat, `redelivery_s`
    what passes until the steps of a killed worker are given to another one. `together` is what so many busy workers of
    one machine do, as multiples of what one does alone; empty where each has a machine of its own.
    """

    slots: int = 8
    startup_s: float = 5.0
    redelivery_s: float = 6.3
    decoded_per_s: Sequence[tuple[int, float]] = tuple(DECODED_PER_S.items())
    together: Sequence[tuple[int, float]] = ()

    @property
    def tokens_per_s(self) -> Floats:
        """Of one row, by rows: `(slots + 1,)`; linear between what was measured."""
        rows = np.arange(self.slots + 1)
        known, rates = zip(*self.decoded_per_s, strict=True)
        whole = np.interp(rows, (0, *known), (0.0, *rates))
        return np.asarray(whole / np.maximum(rows, 1), dtype=np.float64)

    def speeds(self, workers: int) -> Floats:
        """Of each worker, as a share of its speed alone, by how many are busy, `(workers + 1,)`; linear between."""
        if not self.together:
            return np.ones(workers + 1)
        busy = np.arange(workers + 1)
        known, multiples = zip(*self.together, strict=True)
        return np.asarray(np.interp(busy, known, multiples) / np.maximum(busy, 1), dtype=np.float64)

    @property
    def full_tokens_per_s(self) -> float:
        """Of a worker whose slots are all busy."""
        return float(self.tokens_per_s[self.slots] * self.slots)

    def work(self, read: Floats, decoded: Floats) -> Floats:
        """Jobs' sizes in decoded tokens: a prompt's tokens count by the time that they take, the batch being full."""
        return decoded + read * (self.full_tokens_per_s / READ_PER_S)
