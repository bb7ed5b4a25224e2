"""The scheduler against a sorted list: who runs, who waits, and that nobody is lost."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from workers.scheduler import Scheduler
from workers.sequence import GenerationRequest, Sampling, Sequence


def sequence(priority: int = 1) -> Sequence:
    return Sequence.start(GenerationRequest("x", Sampling(), priority), [1])


def same(found: list[Sequence], expected: list[Sequence]) -> bool:
    """Whether both lists hold the very same sequences in the same order."""
    return [id(one) for one in found] == [id(one) for one in expected]


class Line(RuleBasedStateMachine):
    """Any order of calls; the model is one list of those waiting and one of those running."""

    @initialize(slots=st.integers(1, 4))
    def start(self, slots: int) -> None:
        """Start with some slots, all free."""
        self.slots = slots
        self.scheduler = Scheduler(slots)
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []

    def in_line(self) -> list[Sequence]:
        """Those waiting, highest priority first; a stable sort keeps the order of arrival."""
        return sorted(self.waiting, key=lambda one: -one.request.priority)

    @rule(priority=st.integers(1, 10))
    def add(self, priority: int) -> None:
        """Put a sequence in line; it does not run yet."""
        added = sequence(priority)
        self.scheduler.add(added)
        self.waiting.append(added)

    @rule()
    def admit(self) -> None:
        """The first in line get all free slots, and are named in that order."""
        expected = self.in_line()[: self.slots - len(self.running)]
        assert same(self.scheduler.admit(), expected)
        self.running += expected
        self.waiting = [one for one in self.waiting if not any(one is moved for moved in expected)]

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """A sequence that ends frees its slot, wherever it stands."""
        ended = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.scheduler.release(ended)

    @rule()
    def drain(self) -> None:
        """Everything comes out, running first, and nothing stays."""
        assert same(self.scheduler.drain(), self.running + self.in_line())
        self.running, self.waiting = [], []

    @invariant()
    def agrees(self) -> None:
        """The slots hold who should run, never more than there are, and idle is when nobody is left."""
        assert same(self.scheduler.running, self.running)
        assert len(self.scheduler.running) <= self.slots
        assert self.scheduler.idle == (not self.running and not self.waiting)


TestLine = Line.TestCase


def test_priority_then_arrival() -> None:
    """The higher priority runs first, and of equals the one that came first."""
    scheduler = Scheduler(1)
    low, high, late = sequence(1), sequence(9), sequence(9)
    for one in (low, high, late):
        scheduler.add(one)
    order = []
    while not scheduler.idle:
        order += scheduler.admit()
        scheduler.release(scheduler.running[0])
    assert same(order, [high, late, low])


def test_a_running_sequence_keeps_its_slot() -> None:
    """A higher priority that comes later waits for a slot."""
    scheduler = Scheduler(1)
    first, urgent = sequence(1), sequence(10)
    scheduler.add(first)
    scheduler.admit()
    scheduler.add(urgent)
    assert scheduler.admit() == []
    assert same(scheduler.running, [first])
