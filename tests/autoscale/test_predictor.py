"""The predictor: a floor only where its backtest beats the last value with headroom."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import ROOT

from autoscale.candidates import CANDIDATES
from autoscale.decision import Policy
from autoscale.past import DAY_S, Past
from autoscale.predictor import Forecast, forecast

TRACES = ROOT.parent / "shared" / "traces" / "arrivals"
BIN_S = 1800.0
DAY = 48


def daily(days: int, noise: float = 0.0, seed: int = 1) -> list[float]:
    """Demand with a strong daily cycle."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * DAY) / DAY
    return (40 - 30 * np.cos(2 * math.pi * hours) + noise * rng.standard_normal(days * DAY)).clip(0).tolist()


def past(values: list[float]) -> Past:
    return Past(BIN_S, tuple(values))


def test_a_daily_cycle_is_foreseen_and_trusted() -> None:
    """With hours of start-up the same time yesterday is known better than now."""
    values = daily(5, noise=1.0)
    found = forecast(past(values[:-6]), 3 * 3600)
    assert found.is_trusted
    assert found.demand == pytest.approx(values[-1], abs=5)
    assert found.floor(Policy(), 8.0) == min(10, math.ceil(found.demand / (0.6 * 8)))


def wandering(days: int, seed: int) -> list[float]:
    """Demand that wanders about its mean, at no time of the day more than at another."""
    rng, level, values = np.random.default_rng(seed), 0.0, []
    for step in rng.standard_normal(days * DAY):
        level = 0.8 * level + step
        values.append(max(0.0, 100 + 10 * level))
    return values


@pytest.mark.parametrize("seed", range(5))
def test_noise_stays_in_the_shadow(seed: int) -> None:
    """Where no time says anything of another the forecast is shown, and raises nothing."""
    found = forecast(past(wandering(9, seed)), BIN_S)
    assert not found.is_trusted
    assert found.backtest.bins >= DAY
    assert found.floor(Policy(), 8.0) == 0


def test_less_than_a_day_of_scores_is_no_backtest() -> None:
    """A day of history has nothing to compare the next with."""
    found = forecast(past(daily(1)), 3600)
    assert not found.is_trusted


def test_what_stops_repeating_is_trusted_no_more() -> None:
    """A week without a rhythm outweighs the one before."""
    assert forecast(past(daily(6)), BIN_S).is_trusted
    assert not forecast(past(daily(6) + wandering(8, seed=4)), BIN_S).is_trusted


@pytest.mark.parametrize("name", CANDIDATES)
def test_no_candidate_looks_ahead(name: str) -> None:
    """What a backtest uses is what a forecast at that time would have said."""
    values, horizon = np.array(daily(9, noise=5.0)), 4
    whole = CANDIDATES[name](values, horizon, DAY)
    for until in (2 * DAY, 8 * DAY, 8 * DAY + 17):
        then = CANDIDATES[name](values[:until], horizon, DAY)
        assert len(then) == until + horizon
        np.testing.assert_array_equal(then, whole[: until + horizon])


def test_gaps_and_nonsense_fall_back_to_the_last_value() -> None:
    """A past that is mostly missing says what it was when somebody last looked."""
    found = forecast(past([math.nan, 7.0, math.nan, math.nan]), 60)
    assert (found.demand, found.candidate, found.is_trusted) == (7.0, "last", False)
    assert forecast(Past(60.0), 60) == Forecast(0.0, 60.0)
    assert forecast(past([math.nan] * 5), 60).demand == 0.0


@given(
    st.lists(st.one_of(st.just(math.nan), st.floats(0, 1e12)), max_size=4 * 24),
    st.floats(0, 1e6),
)
def test_a_forecast_is_always_a_number_that_could_be(values: list[float], startup_s: float) -> None:
    """Whatever the past is, it is finite, not negative and no more than twice what ever was."""
    found = forecast(Past(3600.0, tuple(values)), startup_s)
    known = [value for value in values if math.isfinite(value)]
    assert 0 <= found.demand <= 2 * max(known, default=0.0)
    assert 0 <= found.floor(Policy(), 8.0) <= 10


def test_a_past_is_made_of_bins_in_any_order() -> None:
    """Gaps are NaN, the latest of two of one time counts, and what is no demand was not seen."""
    made = Past.of(60, [(120, 3.0), (0, 1.0), (300, math.inf), (120, 4.0), (240, -1.0)])
    assert made.demand[0] == 1.0
    assert made.demand[2] == 4.0
    assert [math.isnan(value) for value in made.demand] == [False, True, False, True, True, True]
    assert made.bins(DAY_S) == 1440
    assert made.bins(0) == made.bins(60) == 1
    assert made.bins(61) == 2


@pytest.mark.skipif(not TRACES.exists(), reason="no traces beside the repository")
@pytest.mark.parametrize(("horizon_s", "unmet", "idle"), [(600, 0.024, 0.174), (3600, 0.064, 0.211)])
def test_the_backtest_gives_the_known_figures_of_a_real_trace(horizon_s: float, unmet: float, idle: float) -> None:
    """Two weeks of a production model: the yardstick's shares at both horizons, which no candidate beats."""
    rates = np.genfromtxt(TRACES / "servegen-m-large-14d.csv", delimiter=",", names=True)["rate_rps"]
    found = forecast(Past(600.0, tuple(rates)), horizon_s)
    assert found.yardstick.unmet == pytest.approx(unmet, abs=0.001)
    assert found.yardstick.idle == pytest.approx(idle, abs=0.001)
    assert not found.is_trusted


@pytest.mark.skipif(not TRACES.exists(), reason="no traces beside the repository")
def test_taxis_three_hours_ahead_are_foreseen() -> None:
    """Strongly periodic demand at a long horizon: unmet falls by more than half at no more idle capacity."""
    with (TRACES / "nab-nyc-taxi.csv").open() as lines:
        values = [float(row["value"]) for row in csv.DictReader(lines)][: 15 * DAY]
    found = forecast(past(values), 3 * 3600)
    assert found.is_trusted
    assert found.backtest.unmet < found.yardstick.unmet / 2
    assert found.backtest.idle < found.yardstick.idle
