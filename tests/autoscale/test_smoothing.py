"""Averages by the observations' own times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscale.smoothing import Sample, averaged, kept


def samples(*points: tuple[float, float]) -> list[Sample]:
    return [Sample(at, demand, 8.0) for at, demand in points]


def test_an_average_weighs_by_time_not_by_reading() -> None:
    """A reading that stood for long counts for as long."""
    assert averaged(samples((0, 0), (9, 0), (10, 10)), 10).demand == pytest.approx(0.5)


def test_a_window_begins_between_two_readings() -> None:
    """What a reading outside of the window says of its beginning is taken from the line between."""
    assert averaged(samples((0, 0), (10, 10)), 5).demand == pytest.approx(7.5)


def test_one_reading_is_its_own_average() -> None:
    """There is nothing else to say."""
    assert averaged(samples((3, 5)), 30).demand == 5


@given(
    st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 100)), min_size=1, max_size=30),
    st.floats(1, 60),
    st.floats(1, 60),
)
def test_what_is_kept_is_enough_for_every_shorter_window(
    steps: list[tuple[float, float]], window_s: float, shorter_s: float
) -> None:
    """Dropping old samples changes no average, and an average lies between the least and the most."""
    at, everything, memory = 0.0, [], ()
    for gap, demand in steps:
        at += gap
        everything.append(Sample(at, demand, 8.0))
        memory = kept(memory, everything[-1], window_s)
    found = averaged(memory, min(window_s, shorter_s)).demand
    assert found == pytest.approx(averaged(everything, min(window_s, shorter_s)).demand, abs=1e-6)
    demands = [sample.demand for sample in everything]
    assert min(demands) - 1e-6 <= found <= max(demands) + 1e-6
