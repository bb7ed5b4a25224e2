"""The demand of the past, in bins of equal length: what a forecast is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S

MOST_BINS = 100_000
"""Bins further back than so many before the last are not looked at: a wrong clock must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Past:
    """Mean demand by bin, the oldest first, without a gap: NaN where nobody looked."""

    bin_s: float
    demand: tuple[float, ...] = ()

    @classmethod
    def of(cls, bin_s: float, seen: Iterable[tuple[float, float]]) -> Self:
        """Of bins by when they began, in any order, and of each the latest; what is no demand counts as not seen."""
        known = {round(at / bin_s): demand for at, demand in seen if math.isfinite(at)}
        if not known:
            return cls(bin_s)
        end = max(known) + 1
        first = max(min(known), end - MOST_BINS)
        values = (known.get(position, math.nan) for position in range(first, end))
        return cls(bin_s, tuple(value if math.isfinite(value) and value >= 0 else math.nan for value in values))

    def bins(self, span_s: float) -> int:
        """How many bins a time fills or touches; one at least."""
        return max(1, math.ceil(span_s / self.bin_s - 1e-9))
