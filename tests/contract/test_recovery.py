"""What is decided about time, as laws."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from echo_tasks import backoff, recovery

MOMENTS = st.floats(0, 1e10)
CHANCES = st.floats(0, 1)


@given(faults=st.integers(0, 10_000), chance=CHANCES)
def test_a_pause_is_between_half_and_the_whole_of_a_capped_double(faults: int, chance: float) -> None:
    """It never exceeds the cap, and is never so short that those who failed together hammer on."""
    whole_s = min(backoff.LONGEST_S, backoff.FIRST_S * 2.0 ** min(faults, 64))
    assert whole_s / 2 <= backoff.delay_s(faults, chance) <= whole_s


@given(faults=st.integers(0, 100), chance=CHANCES)
def test_pauses_grow_with_faults(faults: int, chance: float) -> None:
    """At the same chance no pause is shorter than the one before."""
    assert backoff.delay_s(faults, chance) <= backoff.delay_s(faults + 1, chance)


@given(now=MOMENTS, waiting=st.integers(0, 10), latest=MOMENTS, publishing_s=st.floats(0, 100))
def test_nothing_is_lost_that_may_be_on_its_way_or_in_line(
    now: float, waiting: int, latest: float, publishing_s: float
) -> None:
    """What was just published is not lost, nor is what nobody has overtaken while messages wait."""
    before = recovery.lost_before(now, waiting=waiting, latest_claimed=latest, publishing_s=publishing_s)
    assert before <= now - publishing_s
    if waiting:
        assert before <= latest


@given(deaths=st.integers(0, 20), losses=st.integers(0, 20), most=st.integers(1, 20))
def test_a_step_is_given_up_when_one_bound_is_reached(deaths: int, losses: int, most: int) -> None:
    """And never before."""
    why = recovery.why_given_up("memory", deaths=deaths, losses=losses, max_deliveries=most)
    assert (why is not None) == (deaths >= most or losses >= recovery.MAX_LOSSES)
