"""What a request is told at the gate: whether its key is good, and how many more may follow it so soon."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from echo_tasks.access.grants import Grant

WINDOW_S = 60
"""Rates are told as so many requests in that time. All of them may come at once; then they flow back steadily."""

Standing = Literal["good", "unknown", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class Rate:
    """Where somebody stands with his rate: `limit` a minute, of which `left` may come now.

    `whole_in_s`: until all of them may; `next_in_s`: until one may, which is 0 while some are left. `at` is now.
    """

    counted_by: Literal["key", "address"]
    limit: int
    left: int
    whole_in_s: float
    next_in_s: float
    at: float

    @property
    def is_over(self) -> bool:
        """Whether this request was one too many."""
        return self.next_in_s > 0


@dataclass(frozen=True, slots=True)
class Admission:
    """How a key stands, its grant if it is good, and the rate; None where there is no limit.

    `ends_in_s`: until what was shown is over by itself; infinite for most.
    """

    standing: Standing
    grant: Grant | None
    rate: Rate | None
    ends_in_s: float = math.inf
