"""A forecast of the demand, as a floor under what is observed: in use only while it has lately been worth it.

Each candidate is scored over the latest week at the horizon that matters, the start-up time of a worker: with capacity for
the larger of what was there and what it said, how much of the demand would have been unmet, and how much capacity idle.
The yardstick is the last value with headroom, which needs no past. A candidate that does not beat it stays in the shadow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from autoscale.candidates import CANDIDATES, Floats, last
from autoscale.history import DAY_S, WEEK_S, History
from autoscale.policy import Policy

HEADROOM = 1.15
UNMET_COSTS = 4.0
"""Of idle capacity: the pinball loss of a capacity that should be enough in four bins of five."""

MARGIN = 0.98
"""What is hardly better than the yardstick is not."""


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of the demand: that would have been unmet, and that capacity would have been idle; over so many bins."""

    unmet: float
    idle: float
    bins: int

    @property
    def loss(self) -> float:
        return UNMET_COSTS * self.unmet + self.idle


@dataclass(frozen=True, slots=True)
class Forecast:
    """The demand that is expected at a horizon by the best candidate, its score beside the yardstick's."""

    candidate: str
    horizon_s: float
    demand: float
    score: Score
    yardstick: Score
    is_in_use: bool

    def floor(self, policy: Policy, slots: float) -> int:
        """The instances of so many slots that the demand needs; 0 in the shadow."""
        if not self.is_in_use or slots <= 0:
            return 0
        return max(0, min(policy.most, math.ceil(self.demand / (policy.target * slots))))


NOTHING = Score(math.nan, math.nan, 0)


def forecast(history: History, startup_s: float) -> Forecast:
    """What the history says of the time at which a worker that is started now serves. Never raises: at worst the last value."""
    horizon, day = history.bins(startup_s), history.bins(DAY_S)
    values = np.asarray(history.demand, dtype=np.float64)
    values = np.where(np.isfinite(values) & (values >= 0), values, np.nan)
    if not np.isfinite(values).any():
        return Forecast("last", horizon * history.bin_s, 0.0, NOTHING, NOTHING, False)
    now = last(values, horizon)
    scored = max(1, history.bins(WEEK_S))
    best = Forecast("last", horizon * history.bin_s, float(now[-1]), NOTHING, NOTHING, False)
    for name, candidate in CANDIDATES.items():
        said = _bounded(candidate(values, horizon, day), values)
        judged = np.isfinite(said[: len(values)]) & np.isfinite(now[: len(values)]) & np.isfinite(values)
        judged[: max(0, len(values) - scored)] = False
        score = _score(values, np.fmax(now, said)[: len(values)], judged)
        yardstick = _score(values, now[: len(values)] * HEADROOM, judged)
        is_worth_it = score.bins >= day and score.loss < MARGIN * yardstick.loss
        if math.isfinite(said[-1]) and _ratio(score, yardstick) < _ratio(best.score, best.yardstick):
            best = Forecast(name, horizon * history.bin_s, float(said[-1]), score, yardstick, is_worth_it)
    return best


def _bounded(said: Floats, values: Floats) -> Floats:
    """Without what no trend may say: less than nothing, or more than twice what ever was."""
    return np.clip(said, 0.0, 2 * np.nanmax(values))


def _score(values: Floats, capacity: Floats, judged: npt.NDArray[np.bool_]) -> Score:
    demand, capacity = values[judged], capacity[judged]
    total = float(demand.sum())
    if not total:
        return Score(math.nan, math.nan, 0)
    unmet = float(np.maximum(0.0, demand - capacity).sum()) / total
    return Score(unmet, float(np.maximum(0.0, capacity - demand).sum()) / total, len(demand))


def _ratio(score: Score, yardstick: Score) -> float:
    """How the losses compare; infinite where nothing was scored."""
    return score.loss / yardstick.loss if score.bins and yardstick.loss else math.inf
