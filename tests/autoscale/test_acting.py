"""Acting: what an actuator is told, how often, and that nothing it says is believed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from scene import Watch

from autoscale.acting import Acting
from autoscale.decision import Decision, Reason
from autoscale.observation import Instance, Observation
from echo_tasks.errors import ActuatorError


class Told:
    """An actuator that remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.fault = ""

    def starting(self, live: Sequence[Instance]) -> int:
        return 0

    def start(self, count: int) -> None:
        self._hear(count)

    def drain(self, instances: Sequence[Instance]) -> None:
        self._hear([instance.node for instance in instances])

    def _hear(self, call: object) -> None:
        self.calls.append(call)
        if self.fault:
            raise ActuatorError(self.fault)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def watch() -> Watch:
    return Watch()


def seen(*nodes: str, starting: int = 0, draining: Sequence[str] = ()) -> Observation:
    instances = [Instance(node, 4, 0, 1.0, node in draining) for node in [*nodes, *draining]]
    return Observation(1.0, instances, starting, 0, 0, 0.0, 0)


def wanted(desired: int, *victims: str) -> Decision:
    return Decision(1.0, 0, desired, Reason.STEADY, 0.0, victims)


def test_what_is_missing_is_asked_for_and_what_starts_is_not_missing(told: Told, watch: Watch) -> None:
    """Serving and starting ones count; those that go do not."""
    acting = Acting(told, watch)
    assert acting.pursue(wanted(5), seen("a", starting=1, draining=["b"]), lambda: True) == 3
    assert acting.pursue(wanted(5), seen("a", starting=4), lambda: True) == 0
    awaited = Decision(1.0, 2, 2, Reason.STEADY, 0.0)  # one that has vanished for a moment is counted in
    assert acting.pursue(awaited, seen("a"), lambda: True) == 0
    assert told.calls == [3]


def test_only_those_that_serve_are_drained_and_no_more_than_too_many(told: Told, watch: Watch) -> None:
    """Whatever the decision says: one that starts cannot be, and one that goes already is."""
    acting = Acting(told, watch)
    acting.pursue(wanted(1, "a", "b", "c", "x"), seen("a", "b", draining=["c"]), lambda: True)
    acting.pursue(wanted(1, "a"), seen("a", starting=3), lambda: True)
    acting.pursue(wanted(0), seen("a"), lambda: True)
    assert told.calls == [["a"]]


def test_a_try_without_effect_is_repeated_with_pauses_that_grow(told: Told, watch: Watch) -> None:
    """Whether it failed or claimed to have done it."""
    for fault in ("no room", ""):
        told.calls.clear()
        told.fault = fault
        acting = Acting(told, watch)
        for _ in range(120):
            acting.pursue(wanted(2), seen("a"), lambda: True)
            assert acting.fault == fault
            watch.at += 1
        assert 6 <= len(told.calls) <= 14


def test_a_farm_that_moves_is_not_waited_for(told: Told, watch: Watch) -> None:
    """Half of what was asked for came: the other half is asked for at once."""
    told.fault = "half of them failed"
    acting = Acting(told, watch)
    for _ in range(5):
        acting.pursue(wanted(4), seen("a"), lambda: True)
    acting.pursue(wanted(4), seen("a", starting=2), lambda: True)
    assert told.calls == [3, 1]


def test_a_fault_is_over_when_nothing_is_missing(told: Told, watch: Watch) -> None:
    """Told of as long as it matters."""
    told.fault = "no room"
    acting = Acting(told, watch)
    acting.pursue(wanted(2), seen("a"), lambda: True)
    assert acting.fault == "no room"
    acting.pursue(wanted(2), seen("a", "b"), lambda: True)
    assert acting.fault == ""


def test_what_was_not_met_is_pursued_between_decisions(told: Told, watch: Watch) -> None:
    """A decision that waits for its next interval takes nothing back, until that is met or another is made."""
    acting = Acting(told, watch)
    told.fault = "no room"
    acting.pursue(acting.aim(Decision(1.0, 1, 3, Reason.SCALE_UP, 0.9)), seen("a"), lambda: True)
    between = Decision(2.0, 1, 1, Reason.BETWEEN, 0.9)
    watch.at += 2
    aim = acting.aim(between)
    assert (aim.desired, aim.reason, aim.at) == (3, Reason.SCALE_UP, 2.0)
    acting.pursue(aim, seen("a"), lambda: True)
    assert told.calls == [2, 2]
    acting.pursue(aim, seen("a", starting=2), lambda: True)
    assert acting.aim(between) is between
    acting.aim(Decision(3.0, 1, 2, Reason.SCALE_UP, 0.9))
    acting.aim(Decision(4.0, 1, 1, Reason.INSUFFICIENT_DATA, 0.9))
    assert acting.aim(between) is between


def test_who_leads_no_more_does_nothing(told: Told, watch: Watch) -> None:
    """It is asked in the last moment."""
    assert Acting(told, watch).pursue(wanted(2), seen("a"), lambda: False) == 0
    assert told.calls == []
