"""The decision: what it grows for, when it shrinks, and what it never does."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sightings import SLOTS, calm, decided, seen

from autoscale.decision import Decision, Memory, Policy, Reason, decide
from autoscale.observation import Observation

POLICY = Policy()


def reasons(decisions: list[Decision]) -> set[Reason]:
    return {decision.reason for decision in decisions}


def test_what_waits_beyond_all_that_start_is_answered_in_one_jump_at_once() -> None:
    """The second reading of a burst is enough, between intervals, for as many as the demand needs at the target."""
    first, second = decided(POLICY, [seen(0, 4), seen(2, 8, ready=22)])[0]
    assert (first.desired, second.reason) == (1, Reason.BURST)
    assert second.desired >= math.ceil(30 / (POLICY.target * SLOTS))


def test_workers_that_start_already_are_not_ordered_again() -> None:
    """What a burst needs is on its way: no more is ordered while they start."""
    demand = {"ready": 32}
    sightings = [seen(0, 8, **demand), seen(2, 8, **demand), seen(4, 8, **demand, starting=9)]
    assert decided(POLICY, sightings)[0][2].desired == 10
    assert decided(POLICY, sightings)[0][2].current == 10


def test_steady_growth_is_answered_once_an_interval() -> None:
    """Above the threshold without anything waiting, the farm grows at the interval's end to the target."""
    decisions, _ = decided(POLICY, [seen(2.0 * step, 7, 7) for step in range(40)])
    grown = [decision for decision in decisions if decision.desired > decision.current]
    assert {decision.reason for decision in grown} == {Reason.SCALE_UP}
    assert {decision.desired for decision in grown} == {3}
    assert {later.at - earlier.at for earlier, later in pairwise(grown)} == {POLICY.interval_s}


def test_a_load_that_is_gone_at_the_intervals_end_brings_nobody() -> None:
    """The mean of the interval is above the threshold, but not what is there now."""
    busy = [seen(2.0 * step, 7, 7) for step in range(15)]
    for now, desired in (((1, 1), 2), ((7, 7), 3)):
        assert decided(POLICY, [*busy, seen(30.0, *now)])[0][-1].desired == desired


def test_a_calm_window_lets_one_go_and_a_shorter_one_none() -> None:
    """Nobody goes before the stabilisation window is over, then one, and the next an interval later."""
    decisions, _ = decided(POLICY, calm(POLICY, 1, 1, 1, 1))
    shrunk = [decision for decision in decisions if decision.reason is Reason.SCALE_DOWN]
    assert shrunk[0].at >= POLICY.stabilisation_s
    assert all(decision.desired == 3 and len(decision.victims) == 1 for decision in shrunk)
    assert shrunk[1].at - shrunk[0].at >= POLICY.interval_s
    assert Reason.STABILISING in reasons(decisions)


def test_one_busy_interval_begins_the_calm_anew() -> None:
    """The highest average of the window counts, not the last."""
    sightings = [*calm(POLICY, 1, 1, 1, 1, span_s=200), *calm(POLICY, 5, 5, 5, 5, span_s=60, since=200)]
    sightings += calm(POLICY, 1, 1, 1, 1, span_s=280, since=260)
    assert Reason.SCALE_DOWN not in reasons(decided(POLICY, sightings)[0])


def test_a_consolidation_that_would_be_too_busy_is_refused() -> None:
    """With thresholds close to each other, the rest without one would be above the target: the farm stays."""
    policy = replace(POLICY, scale_down=0.55)
    decisions, _ = decided(policy, calm(policy, 4, 4))
    assert Reason.CONSOLIDATION_REFUSED in reasons(decisions)
    assert Reason.SCALE_DOWN not in reasons(decisions)


def test_the_forecast_raises_and_holds_and_never_lowers() -> None:
    """A floor above the size raises it; one below only says how far a calm farm may shrink."""
    raised, _ = decide(POLICY, Memory(), seen(0, 1), floor=4)
    assert (raised.desired, raised.reason) == (4, Reason.FORECAST)
    held, _ = decided(POLICY, calm(POLICY, 0, 0, 0, 0), floor=4)
    assert reasons(held) == {Reason.FORECAST, Reason.STABILISING, Reason.BETWEEN}
    assert all(decision.desired == 4 for decision in held)
    beyond, _ = decide(POLICY, Memory(), seen(0, 1), floor=99)
    assert beyond.desired == POLICY.most


def test_bounds_are_repaired_at_once() -> None:
    """Too few are started and too many drained, whatever the load, also by a controller that has just begun."""
    below, _ = decide(replace(POLICY, least=3), Memory(), seen(0, 1))
    assert (below.desired, below.reason) == (3, Reason.BELOW_MIN)
    above, _ = decide(replace(POLICY, most=2), Memory(), seen(0, 5, 0, 7))
    assert (above.desired, above.reason, above.victims) == (2, Reason.ABOVE_MAX, ["w1"])


def test_a_disabled_controller_keeps_the_bounds_and_hears_people() -> None:
    """Without automatic scaling no load changes anything; bounds and requests by hand do."""
    policy = replace(POLICY, is_enabled=False, least=1)
    decisions, memory = decided(policy, [seen(2.0 * step, 8, ready=50) for step in range(40)])
    assert reasons(decisions) == {Reason.DISABLED}
    asked, _ = decide(policy, memory, seen(80, 8), asked=2)
    assert (asked.desired, asked.reason) == (2, Reason.ASKED)
    repaired, _ = decide(policy, memory, seen(80))
    assert (repaired.current, repaired.reason) == (1, Reason.DISABLED), "one that vanished is waited for"
    repaired, _ = decide(policy, Memory(), seen(0))
    assert (repaired.desired, repaired.reason) == (1, Reason.BELOW_MIN)


def test_what_a_person_asks_for_is_granted_within_the_bounds() -> None:
    """More at once, fewer by draining, never beyond the bounds; what was added by hand stays for a window."""
    more, memory = decide(POLICY, Memory(), seen(0, 0, 0), asked=3)
    assert (more.desired, more.reason) == (3, Reason.ASKED)
    later, _ = decided(POLICY, calm(POLICY, 0, 0, 0, span_s=290, since=2), memory)
    assert Reason.SCALE_DOWN not in reasons(later)
    fewer, _ = decide(POLICY, Memory(), seen(0, 3, 0, 5, 4), asked=2)
    assert (fewer.desired, fewer.reason, fewer.victims) == (2, Reason.ASKED, ["w1", "w0"])
    assert decide(POLICY, Memory(), seen(0, 3, 3), asked=0)[0].desired == POLICY.least
    assert decide(POLICY, Memory(), seen(0, 3, 3), asked=99)[0].desired == POLICY.most
    assert decide(POLICY, Memory(), seen(0, 3, starting=3), asked=1)[0].victims == [], "until three others have come"
    assert decide(POLICY, Memory(), seen(0, 3, 0, 5, starting=3), asked=1)[0].victims == ["w1", "w0"]
    assert decide(POLICY, Memory(), seen(0, 1, starting=None), asked=2)[0].reason is Reason.INSUFFICIENT_DATA


def test_where_it_is_unknown_what_starts_the_farm_stays() -> None:
    """Neither a burst nor a bound is answered where the size is not known."""
    decisions, _ = decided(POLICY, [seen(2.0 * step, 8, ready=90, starting=None) for step in range(30)])
    assert reasons(decisions) == {Reason.INSUFFICIENT_DATA}
    assert all(decision.desired == decision.current for decision in decisions)


def test_a_restarted_controller_takes_the_farm_as_it_is() -> None:
    """A fresh memory does not shrink for a window."""
    decisions, _ = decided(POLICY, calm(POLICY, 0, 0, 0, 0, span_s=POLICY.stabilisation_s))
    assert all(decision.desired == 4 for decision in decisions)


def test_a_gap_in_the_observations_begins_the_window_anew() -> None:
    """A controller that was away for a minute knows nothing of it."""
    sightings = calm(POLICY, 0, 0, 0, span_s=290)
    later = calm(POLICY, 0, 0, 0, span_s=290, since=sightings[-1].at + 60)
    assert Reason.SCALE_DOWN not in reasons(decided(POLICY, [*sightings, *later])[0])


def test_a_clock_that_went_back_begins_the_window_anew() -> None:
    """Times that do not grow make no averages."""
    sightings = [*calm(POLICY, 0, 0, 0, span_s=290), *calm(POLICY, 0, 0, 0, span_s=290)]
    assert Reason.SCALE_DOWN not in reasons(decided(POLICY, sightings)[0])


def test_workers_that_vanish_are_waited_for_and_are_no_calm() -> None:
    """Records that are gone without a drain are neither replaced at once nor taken for a farm that may shrink."""
    before = calm(POLICY, 1, 1, 1, 1, span_s=296)
    gone = [seen(before[-1].at + 2.0 * step, 1, 1) for step in range(1, 160)]
    decisions, _ = decided(POLICY, [*before, *gone])
    assert decisions[len(before)].current == 4
    assert decisions[-1].current == 2
    assert Reason.SCALE_DOWN not in reasons(decisions[: len(before) + 140])


def test_a_worker_that_drained_is_not_missed() -> None:
    """One that was told to go is gone, and the window goes on."""
    sightings = [*calm(POLICY, 0, 0, 0, span_s=100)]
    sightings += [seen(sightings[-1].at + 2, 0, 0, 0, draining=[2]), seen(sightings[-1].at + 4, 0, 0)]
    decisions, memory = decided(POLICY, sightings)
    assert decisions[-1].current == 2
    assert not memory.missing
    assert memory.unrest_at == 0


def test_what_waits_for_an_interval_brings_one_more() -> None:
    """Where something is old though the average says that there is room, one comes, and only where somebody is busy."""
    late = [seen(2.0 * step, 4, 4, ready=1, oldest_s=40) for step in range(20)]
    overdue = [decision for decision in decided(POLICY, late)[0] if decision.reason is Reason.OVERDUE]
    assert {decision.desired for decision in overdue} == {3}
    idle = [seen(2.0 * step, 0, 0, ready=1, oldest_s=40) for step in range(20)]
    assert Reason.OVERDUE not in reasons(decided(POLICY, idle)[0])


def test_work_of_draining_workers_is_no_demand_on_the_others() -> None:
    """They finish what they hold by themselves."""
    decisions, _ = decided(POLICY, [seen(2.0 * step, 1, 8, 8, draining=[1, 2]) for step in range(20)])
    assert decisions[-1].utilisation == pytest.approx(1 / 8)
    assert decisions[-1].current == 1


def test_decisions_and_memories_can_be_written_down() -> None:
    """Both are plain values."""
    decisions, memory = decided(POLICY, [seen(0, 1), seen(2, 8, ready=3)])
    assert json.loads(json.dumps(asdict(decisions[-1])))["reason"] == decisions[-1].reason
    assert asdict(memory)["samples"]


busy = st.lists(st.integers(0, SLOTS), max_size=14)
sightings = st.lists(
    st.tuples(
        st.floats(0.5, 40), busy, st.integers(0, 300), st.one_of(st.none(), st.integers(0, 4)), st.floats(0, 100)
    ),
    min_size=1,
    max_size=40,
)
policies = st.builds(
    lambda least, span, down, gap: Policy(
        least=least, most=least + span, scale_down=down, scale_up=min(1, down + gap), target=down + gap / 2
    ),
    st.integers(1, 5),
    st.integers(0, 8),
    st.floats(0.1, 0.5),
    st.floats(0.1, 0.4),
)


def run(policy: Policy, steps: list, floor: int, asked: int | None) -> list[tuple[Observation, Decision]]:
    at, memory, made = 0.0, Memory(), []
    for gap, workers, ready, starting, oldest_s in steps:
        at += gap
        sighting = seen(at, *workers, ready=ready, starting=starting, oldest_s=oldest_s)
        decision, memory = decide(policy, memory, sighting, floor, asked)
        made.append((sighting, decision))
    return made


@given(policies, sightings, st.integers(0, 20), st.one_of(st.none(), st.integers(0, 12)))
def test_a_change_never_leads_out_of_the_bounds(policy: Policy, steps: list, floor: int, asked: int | None) -> None:
    """A decision moves towards the bounds or stays within them."""
    for _, decision in run(policy, steps, floor, asked):
        if decision.desired > decision.current:
            assert decision.desired <= policy.most
        if decision.desired < decision.current:
            assert decision.desired >= min(policy.least, decision.current)


@given(policies, sightings, st.integers(0, 20))
def test_victims_are_as_many_as_are_too_many_and_the_idlest(policy: Policy, steps: list, floor: int) -> None:
    """Nobody who works is drained while somebody idle stays, and nobody twice."""
    for sighting, decision in run(policy, steps, floor, None):
        assert len(decision.victims) == max(0, decision.current - decision.desired)
        work = {instance.node: instance.busy for instance in sighting.serving}
        stay = [count for node, count in work.items() if node not in decision.victims]
        assert all(work[node] <= min(stay, default=SLOTS) for node in decision.victims)


@given(policies, sightings)
def test_only_calm_shrinks_and_by_one(policy: Policy, steps: list) -> None:
    """Without a person and above no bound, at most one goes, and never within a window of growth or of a beginning."""
    unrest = None
    for sighting, decision in run(policy, steps, 0, None):
        unrest = sighting.at if unrest is None or decision.desired > decision.current else unrest
        if decision.reason is Reason.ABOVE_MAX:
            continue
        assert decision.desired >= decision.current - 1
        if decision.desired < decision.current:
            assert sighting.at - unrest >= policy.stabilisation_s


@given(sightings)
def test_unknown_starting_changes_nothing(steps: list) -> None:
    """What cannot be known is not guessed."""
    for sighting, decision in run(POLICY, steps, 0, None):
        if sighting.starting is None:
            assert decision.desired == decision.current


@given(st.integers(0, 90), st.integers(1, 10), st.floats(0.1, 0.79))
def test_a_constant_demand_never_calls_back_whom_it_let_go(demand: int, size: int, scale_down: float) -> None:
    """The veto: however close the thresholds are to each other, the farm settles."""
    policy, memory, shrunk = Policy(scale_down=scale_down, interval_s=10, stabilisation_s=60), Memory(), False
    for step in range(400):
        running = [min(SLOTS, max(0, demand - SLOTS * number)) for number in range(size)]
        decision, memory = decide(policy, memory, seen(4.0 * step, *running, ready=max(0, demand - SLOTS * size)))
        assert not (shrunk and decision.desired > size)
        shrunk, size = shrunk or decision.desired < size, decision.desired
