"""Ways to forecast, by name: each from every bin for the bin so many later, so that a backtest is the forecast itself.

`(N,)` values, gaps NaN, give `(N + horizon,)` forecasts: entry j is made of values up to j - horizon only, and NaN
where they do not say. Seasonal naive forecasts and a trend are a line of numpy each; statsmodels and prophet would
bring scipy, pandas or a compiler of Stan for what the backtest then refuses, as it does on real traffic at horizons of
minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Candidate = Callable[[Floats, int, int], Floats]

TREND_BINS = 6


def last(values: Floats, horizon: int) -> Floats:
    """What it is now, or was when somebody last looked."""
    seen = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(len(values)), -1))
    filled = np.where(seen >= 0, values[np.maximum(seen, 0)], np.nan)
    return _later(filled, horizon)


def yesterday(values: Floats, horizon: int, day: int) -> Floats:
    """What it was at the same time yesterday."""
    return _season(values, horizon, day)


def last_week(values: Floats, horizon: int, day: int) -> Floats:
    """What it was at the same time a week ago."""
    return _season(values, horizon, 7 * day)


def as_yesterday(values: Floats, horizon: int, day: int) -> Floats:
    """What it is now, and what then came on top of it yesterday."""
    return last(values, horizon) + _season(values, horizon, day) - _season(_later(values, horizon), 0, day)


def as_last_week(values: Floats, horizon: int, day: int) -> Floats:
    """What it is now, and what then came on top of it a week ago."""
    return last(values, horizon) + _season(values, horizon, 7 * day) - _season(_later(values, horizon), 0, 7 * day)


def trend(values: Floats, horizon: int, day: int) -> Floats:
    """What it is now, gone on with the mean slope of the latest bins."""
    now = last(values, 0)
    slope = (now - _later(now, TREND_BINS)[: len(now)]) / TREND_BINS
    return _later(now + slope * horizon, horizon)


CANDIDATES: Mapping[str, Candidate] = {
    "yesterday": yesterday,
    "last_week": last_week,
    "as_yesterday": as_yesterday,
    "as_last_week": as_last_week,
    "trend": trend,
}


def _later(values: Floats, bins: int) -> Floats:
    """The same, so many bins later."""
    return np.concatenate([np.full(bins, np.nan), values])


def _season(values: Floats, horizon: int, season: int) -> Floats:
    """For each bin up to the horizon what was a season before it; NaN where that is not over yet."""
    if season < horizon:
        return np.full(len(values) + horizon, np.nan)
    return _later(values, season)[: len(values) + horizon] if season else values
