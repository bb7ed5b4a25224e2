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


@dataclass(frozen=True, slots=True)
class Service:
    """A worker: its slots, what it does in a second by how many of them are busy, and how long it takes to begin.

    `slots` is the default of ECHO_SLOTS, `startup_s` the time from the order to the first heartbeat, `redelivery_s`
    what passes until the steps of a killed worker are given to another one.
    """

    slots: int = 8
    startup_s: float = 5.0
    redelivery_s: float = 6.3
    decoded_per_s: Sequence[tuple[int, float]] = tuple(DECODED_PER_S.items())

    @property
    def tokens_per_s(self) -> Floats:
        """Of one row, by rows: `(slots + 1,)`; linear between what was measured."""
        rows = np.arange(self.slots + 1)
        known, rates = zip(*self.decoded_per_s, strict=True)
        whole = np.interp(rows, (0, *known), (0.0, *rates))
        return np.asarray(whole / np.maximum(rows, 1), dtype=np.float64)

    @property
    def full_tokens_per_s(self) -> float:
        """Of a worker whose slots are all busy."""
        return float(self.tokens_per_s[self.slots] * self.slots)

    def work(self, read: Floats, decoded: Floats) -> Floats:
        """Jobs' sizes in decoded tokens: a prompt's tokens count by the time that they take, the batch being full."""
        return decoded + read * (self.full_tokens_per_s / READ_PER_S)
