"""What controllers leave for those after them: the load of the past, and how long workers take to start."""

from __future__ import annotations

import math

import pytest
from scene import Hands, Scene, Watch, a_controller, rounds

from autoscale.keeping import BIN_S, KEPT_S, Bin, Filling, Kept
from autoscale.observation import Observation
from autoscale.past import Past
from autoscale.policy import Policy
from autoscale.predictor import Backtest, Forecast
from autoscale.startups import Startups


def seen(at: float, demand: int, arrived: int) -> Observation:
    return Observation(at, [], 0, demand, 0, 0.0, arrived)


def test_a_bin_is_over_when_the_next_one_begins() -> None:
    """Its mean demand, and the jobs that came in it; a time without observations leaves none."""
    filling = Filling()
    told = [filling.add(seen(*one)) for one in ((600, 1, 10), (630, 3, 14), (660, 9, 15), (900, 0, 20))]
    assert told == [None, None, Bin(600, 2.0, 5), Bin(660, 9.0, 5)]


def test_bins_are_kept_for_their_time_and_read_in_order(scene: Scene) -> None:
    """Whoever writes one again, after another leader, replaces it."""
    kept = Kept(scene.broker)
    old, first, second = (Bin(begins, 1.5, 7) for begins in (0.0, BIN_S, KEPT_S + BIN_S))
    for one in (old, second, first, second):
        kept.add(one)
    kept.add(Bin(second.begins_at, 2.25, 8))
    assert kept.read() == [first, Bin(second.begins_at, 2.25, 8)]


def test_start_up_times_are_from_the_request_to_the_first_word(scene: Scene) -> None:
    """The first who comes was asked for first; who was there before, or was not asked for, is not measured."""
    startups = Startups(scene.broker)
    startups.seen(["a"], 100.0)
    assert startups.usual_s() is None
    startups.asked(2, 100.0)
    startups.seen(["a", "b"], 108.0)
    startups.seen(["a", "b", "c"], 112.0)
    startups.seen(["a", "b", "c", "d"], 113.0)
    assert startups.usual_s() == pytest.approx(10.0)
    startups.asked(1, 113.0)
    startups.seen(["e"], 113.0 + 1000)
    assert Startups(scene.broker).usual_s() == pytest.approx(10.0)


def test_a_forecast_is_made_of_the_past_and_counts_when_it_is_trusted(scene: Scene) -> None:
    """It looks as far ahead as a worker takes to start; untrusted it asks for nobody."""
    scene.worker("a@h", slots=4)
    asked: list[tuple[int, float]] = []
    trusted = [False]

    def foresees(past: Past, ahead_s: float) -> Forecast:
        asked.append((len(past.demand), ahead_s))
        yardstick = Backtest(0.2, 0.2, 9) if trusted[0] else Backtest(0.05, 0.05, 9)
        return Forecast(9.0, ahead_s, "yesterday", Backtest(0.1, 0.1, 9), yardstick)

    hands, watch = Hands(scene), Watch()
    controller = a_controller(scene, hands, watch, foresees=foresees)
    rounds(controller, watch, 6)
    now = controller._observer.look().observation
    for minute, is_trusted in ((1, False), (2, True)):
        trusted[0] = is_trusted
        controller._remember(Observation(now.at + 60 * minute, now.instances, 0, 0, 0, 0.0, 0))
    assert asked == [(1, 60.0), (2, 60.0)]
    rounds(controller, watch)
    floor = Policy(most=4)
    assert hands.started == [math.ceil(9.0 / (floor.target * 4)) - 1]
