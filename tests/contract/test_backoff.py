"""When a process that died is started again: the rule alone, without processes or clocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echo_tasks.local.backoff import MOST_EARLY_DEATHS, Backoff

FIRST_PAUSE_S = Backoff().first_pause_s
HEALTHY_AFTER_S = LONGEST_PAUSE_S = 30.0

early = st.floats(0, HEALTHY_AFTER_S, exclude_max=True)
late = st.floats(HEALTHY_AFTER_S, 1e6)


def after(*runs_s: float) -> Backoff:
    past = Backoff()
    for ran_s in runs_s:
        past = past.after(ran_s)
    return past


def test_pauses_double_up_to_the_longest() -> None:
    """A process that was healthy once and then dies at every start is tried for ever, at a bounded rate."""
    pauses = [after(HEALTHY_AFTER_S, *[0.0] * deaths).pause_s for deaths in range(9)]
    assert pauses == [1, 1, 2, 4, 8, 16, 30, 30, 30]


def test_all_times_are_in_proportion_to_the_first_pause() -> None:
    """At a tenth of it a process is healthy ten times sooner, and is tried again ten times sooner."""
    past = Backoff(0.1)
    assert past.after(2.99).early_deaths == 1
    assert past.after(3.0).was_healthy
    for _ in range(9):
        past = past.after(0.0)
    assert past.pause_s == past.longest_pause_s == pytest.approx(3.0)
    assert past.after(3.0).pause_s == pytest.approx(0.1)


def test_five_early_deaths_are_hopeless() -> None:
    """Not four; and not five when it ran well before them."""
    assert not after(*[1.0] * (MOST_EARLY_DEATHS - 1)).is_hopeless
    assert after(*[1.0] * MOST_EARLY_DEATHS).is_hopeless
    assert not after(HEALTHY_AFTER_S, *[1.0] * 50).is_hopeless


@given(st.lists(early | late, max_size=40))
def test_the_pause_is_bounded_and_a_good_run_resets_it(runs_s: list[float]) -> None:
    """Whatever happened, the next start is between a second and half a minute away, and near after a good run."""
    past = after(*runs_s)
    assert FIRST_PAUSE_S <= past.pause_s <= LONGEST_PAUSE_S
    assert past.after(HEALTHY_AFTER_S).pause_s == FIRST_PAUSE_S
    assert past.is_hopeless == (len(runs_s) >= MOST_EARLY_DEATHS and all(ran_s < HEALTHY_AFTER_S for ran_s in runs_s))
