"""How many slots a load wants."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.occupancy import Bounds, Occupancy, grown, shrunk, within

BOUNDS = Bounds(least=4, most=64, scale_up=0.8, scale_down=0.3)
WINDOW_S = 30


def seen(*busy: float, every_s: float = 1.0) -> Occupancy:
    """Looks at a pool that has had so many busy slots from each look to the next."""
    occupancy, total_s = Occupancy(WINDOW_S), 0.0
    occupancy.look(100.0, total_s)
    for number, slots in enumerate(busy, 1):
        total_s += slots * every_s
        occupancy.look(100.0 + number * every_s, total_s)
    return occupancy


def test_occupancy_is_an_average_over_time() -> None:
    """Not what happens to run at a look; and of the window alone."""
    occupancy = seen(8, 0, 2)
    assert occupancy.latest == 2
    assert occupancy.mean == pytest.approx(10 / 3)
    assert occupancy.peak == 8
    assert seen(64, *[1] * WINDOW_S).peak == 1


@pytest.mark.parametrize(
    ("slots", "busy", "waiting", "slots_then"),
    [
        (4, 3.1, 9, 4),  # not over the threshold: what waits is on its way in
        (4, 3.2, 0, 4),  # at it, and 4 is what that wants
        (4, 4, 0, 5),
        (4, 4, 36, 50),
        (4, 4, 1000, 64),
        (64, 64, 1000, 64),
    ],
)
def test_slots_grow_in_one_jump(slots: int, busy: float, waiting: int, slots_then: int) -> None:
    """As far as what runs and waits needs, from the threshold on."""
    assert grown(slots, busy, waiting, BOUNDS) == slots_then


def test_slots_stay_until_the_window_is_over() -> None:
    """A look before it is too early; with it, a quarter goes."""
    assert shrunk(64, seen(*[0] * (WINDOW_S - 1)), BOUNDS) == 64
    assert shrunk(64, seen(*[0] * WINDOW_S), BOUNDS) == 48


def test_a_change_of_slots_begins_a_new_window() -> None:
    """What was seen of the other number says nothing about this one."""
    occupancy = seen(*[0] * WINDOW_S)
    occupancy.restart()
    assert shrunk(48, occupancy, BOUNDS) == 48
    assert occupancy.latest == occupancy.mean == 0


@pytest.mark.parametrize(
    ("busy", "slots_then"), [([20] * WINDOW_S, 64), ([19] * WINDOW_S, 48), ([0, 44] + [0] * 28, 55)]
)
def test_a_peak_within_the_window_is_kept_room_for(busy: list[float], slots_then: int) -> None:
    """Slots go below the lower threshold alone, and not so far that the peak would bring them back."""
    assert shrunk(64, seen(*busy), BOUNDS) == slots_then


def test_a_load_that_is_over_ends_at_the_least_in_eleven_windows() -> None:
    """And there they stay."""
    slots = [64]
    for _ in range(12):
        slots.append(shrunk(slots[-1], seen(*[0] * WINDOW_S), BOUNDS))
    assert slots[11:] == [4, 4]
    assert slots[:12] == sorted(set(slots), reverse=True)


@given(
    busy=st.floats(0, 64),
    slots=st.integers(4, 64),
    thresholds=st.tuples(st.floats(0.05, 1), st.floats(0.05, 1)).filter(lambda pair: pair[0] != pair[1]),
)
def test_no_constant_load_moves_slots_back_and_forth(busy: float, slots: int, thresholds: tuple[float, float]) -> None:
    """Whatever the thresholds: once they have gone one way, they never go the other."""
    bounds = Bounds(4, 64, scale_up=max(thresholds), scale_down=min(thresholds))
    directions = set()
    for _ in range(80):
        used = min(busy, slots)
        after = grown(slots, used, 0, bounds)
        if after == slots:
            after = shrunk(slots, seen(*[used] * WINDOW_S), bounds)
        directions.add((after > slots) - (after < slots))
        slots = after
    assert directions != {-1, 0, 1}
    assert not {-1, 1} <= directions


def test_nothing_is_said_before_the_second_look() -> None:
    """A worker that has just started is neither full nor idle."""
    occupancy = Occupancy(WINDOW_S)
    assert (occupancy.latest, occupancy.mean, occupancy.peak, occupancy.is_whole) == (0, 0, 0, False)


def test_slots_keep_to_the_time_that_a_token_may_take() -> None:
    """As many as would take so long if each cost its share; never fewer than the least, nor more than there may be."""
    bounds = Bounds(least=4, most=64, scale_up=0.8, scale_down=0.3)
    assert within(bounds, busy=32, token_s=0.08, target_s=0.04).most == 16
    assert within(bounds, busy=8, token_s=0.02, target_s=0.04).most == 16
    assert within(bounds, busy=60, token_s=0.01, target_s=0.04).most == 64
    assert within(bounds, busy=8, token_s=9.0, target_s=0.04).most == 4


@pytest.mark.parametrize(("busy", "token_s", "target_s"), [(8, 0.05, None), (8, 0.0, 0.01), (0, 0.05, 0.01)])
def test_without_a_target_or_a_measurement_nothing_is_bounded(busy: float, token_s: float, target_s: float) -> None:
    bounds = Bounds(least=4, most=64, scale_up=0.8, scale_down=0.3)
    assert within(bounds, busy, token_s, target_s) == bounds
