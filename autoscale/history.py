"""The demand of the past, in bins of equal length: what a forecast is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
KEPT_S = 15 * DAY_S
"""What last week was like is known for each bin of this one, and a day more."""


@dataclass(frozen=True, slots=True)
class History:
    """Mean demand by bin, the oldest first, NaN where nobody looked; `since` is when the first bin began."""

    bin_s: float = 60.0
    since: float = 0.0
    demand: tuple[float, ...] = ()

    def with_bin(self, at: float, demand: float) -> History:
        """With one more bin, that began then. Gaps are NaN; what is too old is dropped, and what comes late ignored."""
        value = demand if math.isfinite(demand) and demand >= 0 else math.nan
        missed = round((at - self.since) / self.bin_s) - len(self.demand)
        if not self.demand or missed >= self.most:
            return replace(self, since=at, demand=(value,))
        if missed < 0:
            return self
        bins = (*self.demand, *[math.nan] * missed, value)
        excess = max(0, len(bins) - self.most)
        return replace(self, since=self.since + excess * self.bin_s, demand=bins[excess:])

    @property
    def most(self) -> int:
        """How many bins are kept."""
        return round(KEPT_S / self.bin_s)

    def bins(self, span_s: float) -> int:
        """How many bins a time fills or touches; one at least."""
        return max(1, math.ceil(span_s / self.bin_s - 1e-9))
