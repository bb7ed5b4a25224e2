"""A forecast of the demand, as a floor under what is observed: trusted only while it has lately been worth it.

Each candidate is scored over the latest week at the horizon that matters, the start-up time of a worker: with capacity
for the larger of what was there and what it said, how much of the demand would have been unmet, and how much capacity
idle. The yardstick is the last value, or the last value with headroom, whichever does better: they need no past. What
does not beat them stays in the shadow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoscale.candidates import CANDIDATES, Floats, last
from autoscale.past import DAY_S, WEEK_S, Past
from autoscale.policy import Policy

HEADROOMS = (1.0, 1.15)
UNMET_COSTS = 4.0
"""Of idle capacity: as in the pinball loss of a capacity that is to be enough in four bins of five."""

MARGIN = 0.95
"""What is hardly better than the yardstick is not."""


@dataclass(frozen=True, slots=True)
class Backtest:
    """How capacity would have done: the shares of the demand that were unmet, and idle, over so many bins."""

    unmet: float = math.nan
    idle: float = math.nan
    bins: int = 0

    @property
    def loss(self) -> float:
        """Infinite where nothing was tested."""
        return UNMET_COSTS * self.unmet + self.idle if self.bins else math.inf


@dataclass(frozen=True, slots=True)
class Forecast:
    """The demand at the horizon, by the candidate whose backtest is the best beside the yardstick's."""

    demand: float
    horizon_s: float
    candidate: str = "last"
    backtest: Backtest = Backtest()
    yardstick: Backtest = Backtest()

    @property
    def score(self) -> float:
        """The loss in the yardstick's: below 1 the past is worth something; infinite where it was not tested."""
        if not self.backtest.bins or not self.yardstick.loss:
            return math.inf
        return self.backtest.loss / self.yardstick.loss

    @property
    def is_trusted(self) -> bool:
        """Whether it may be a floor: otherwise it is only shown."""
        return self.score < MARGIN

    def floor(self, policy: Policy, slots: float) -> int:
        """The instances of so many slots that the demand takes; 0 in the shadow."""
        if not self.is_trusted or slots <= 0:
            return 0
        return min(policy.most, math.ceil(self.demand / (policy.target * slots)))


def forecast(past: Past, startup_s: float) -> Forecast:
    """What the past says of the time at which a worker that is started now serves; at worst, the last value."""
    horizon, day = past.bins(startup_s), past.bins(DAY_S)
    values = np.array(past.demand)
    if not np.isfinite(values).any():
        return Forecast(0.0, horizon * past.bin_s)
    now = last(values, horizon)
    best = Forecast(float(now[-1]), horizon * past.bin_s)
    for name, candidate in CANDIDATES.items():
        said = np.clip(candidate(values, horizon, day), 0.0, 2 * np.nanmax(values))
        if not math.isfinite(said[-1]):
            continue
        judged = _judged(values, now, said, past.bins(WEEK_S))
        found = Forecast(
            float(said[-1]),
            horizon * past.bin_s,
            name,
            _backtest(values, np.fmax(now, said), judged, day),
            min((_backtest(values, now * share, judged, day) for share in HEADROOMS), key=lambda one: one.loss),
        )
        best = min(best, found, key=lambda one: one.score)
    return best


def _judged(values: Floats, now: Floats, said: Floats, window: int) -> npt.NDArray[np.bool_]:
    """The bins of the window in which all is known."""
    known = np.isfinite(values) & np.isfinite(now[: len(values)]) & np.isfinite(said[: len(values)])
    known[: max(0, len(values) - window)] = False
    return known


def _backtest(values: Floats, capacity: Floats, judged: npt.NDArray[np.bool_], least: int) -> Backtest:
    """Of a capacity by bin; nothing, where fewer bins than the least are known, or there was no demand."""
    demand, had = values[judged], capacity[: len(values)][judged]
    total = float(demand.sum())
    if len(demand) < least or total <= 0:
        return Backtest()
    short = float(np.maximum(0.0, demand - had).sum())
    over = float(np.maximum(0.0, had - demand).sum())
    return Backtest(short / total, over / total, len(demand))
