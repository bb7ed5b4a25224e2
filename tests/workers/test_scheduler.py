"""The scheduler against a sorted list: who runs, who waits, and that nobody is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from echo_tasks.errors import EngineFull
from workers.marks import Mark
from workers.scheduler import AGE_S, Scheduler
from workers.sequence import GenerationRequest, Sampling, Sequence


def sequence(priority: int = 1, tokens: int = 1, at: float = 0.0) -> Sequence:
    """A sequence with a prompt of so many tokens, submitted at a moment."""
    started = Sequence.start(GenerationRequest("x", Sampling(), priority), [1] * tokens)
    started.submitted_at = at
    return started


def scheduler_of(slots: int, *, prefill_tokens: int = 4, max_tokens: int = 8, max_waiting: int = 100) -> Scheduler:
    return Scheduler(slots, prefill_tokens=prefill_tokens, max_tokens=max_tokens, max_waiting=max_waiting)


def same(found: list[Sequence], expected: list[Sequence]) -> bool:
    """Whether both lists hold the very same sequences in the same order."""
    return [id(one) for one in found] == [id(one) for one in expected]


class Line(RuleBasedStateMachine):
    """Any order of calls; the model is one list of those waiting and one of those running."""

    @initialize(slots=st.integers(1, 4))
    def start(self, slots: int) -> None:
        """Start with some slots, all free."""
        self.slots = slots
        self.scheduler = scheduler_of(slots)
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
    scheduler = scheduler_of(1)
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
    scheduler = scheduler_of(1)
    first, urgent = sequence(1), sequence(10)
    scheduler.add(first)
    scheduler.admit()
    scheduler.add(urgent)
    assert scheduler.admit() == []
    assert same(scheduler.running, [first])


def test_age_outweighs_priority() -> None:
    """One that has waited AGE_S for every step of priority between them comes first: nobody starves."""
    for waited, first in ((9 * AGE_S - 1, "urgent"), (9 * AGE_S + 1, "old")):
        scheduler = scheduler_of(1)
        old, urgent = sequence(1, at=0), sequence(10, at=waited)
        scheduler.add(urgent)
        scheduler.add(old)
        assert same(scheduler.admit(), [{"old": old, "urgent": urgent}[first]])


def test_a_full_line_takes_no_more() -> None:
    """The line has a length; those that run do not count."""
    scheduler = scheduler_of(1, max_waiting=1)
    scheduler.add(sequence())
    scheduler.admit()
    scheduler.add(sequence())
    with pytest.raises(EngineFull):
        scheduler.add(sequence())
    assert scheduler.waiting == 1


def test_cancelled_and_late_ones_are_taken_out() -> None:
    """Both the running and those in line; the others stay as they were."""
    scheduler = scheduler_of(2)
    kept, cancelled, waiting, late = (sequence(at=at) for at in range(4))
    late.request = replace(late.request, deadline=5.0)
    for one in (kept, cancelled, waiting, late):
        scheduler.add(one)
    scheduler.admit()
    cancelled.request.cancelled.set()
    assert same(scheduler.over(4.0), [cancelled])
    assert same(scheduler.over(5.0), [late])
    assert scheduler.over(6.0) == []
    assert same(scheduler.everything(), [kept, waiting])


def marked(*keys: str, at: float = 0.0) -> Sequence:
    """A sequence on its way to marks after three tokens, and after each three more."""
    one = sequence(tokens=3 * len(keys) + 5, at=at)
    one.marks = [Mark(3 * number, key, key) for number, key in enumerate(keys, 1)]
    return one


def test_those_with_the_same_mark_wait_for_the_first_and_no_other() -> None:
    """Until it is there: then they are in line, and have no mark."""
    scheduler = scheduler_of(4)
    leader, follower, other = marked("past"), marked("past"), marked("other")
    for one in (leader, follower, other):
        scheduler.add(one)
    assert same(scheduler.admit(), [leader, other])
    assert scheduler.waiting == 1
    assert scheduler.admit() == []
    scheduler.passed(leader, "state")
    assert (leader.marks, follower.marks, follower.state, follower.cached_tokens) == ([], [], "state", 3)
    assert same(scheduler.admit(), [follower])


def test_those_who_part_later_wait_for_the_last_mark_of_both() -> None:
    """And then one of them goes ahead to what only they share."""
    scheduler = scheduler_of(4)
    leader, near, far, further = marked("a", "b", "c"), marked("a", "x"), marked("a", "b", "y"), marked("a", "b", "y")
    for one in (leader, near, far, further):
        scheduler.add(one)
    assert same(scheduler.admit(), [leader])
    scheduler.passed(leader, "after a")
    assert same(scheduler.admit(), [near])
    scheduler.passed(leader, "after b")
    assert same(scheduler.admit(), [far])
    assert (far.state, far.cached_tokens, scheduler.waiting) == ("after b", 6, 1)
    scheduler.passed(far, "after y")
    assert same(scheduler.admit(), [further])
    assert (further.state, further.cached_tokens) == ("after y", 9)


def test_nobody_waits_for_the_end_of_its_own_prompt() -> None:
    """There would be nothing to feed, and no logits to choose from."""
    scheduler = scheduler_of(4)
    leader, same_prompt, longer = marked("a"), marked("a"), marked("a")
    leader.prompt_tokens = same_prompt.prompt_tokens = 3
    for one in (leader, same_prompt, longer):
        scheduler.add(one)
    assert same(scheduler.admit(), [leader, same_prompt])
    scheduler.passed(same_prompt, "state")
    assert scheduler.admit() == []
    scheduler.passed(leader, "state")
    assert same(scheduler.admit(), [longer])


def test_of_those_who_wait_the_first_takes_the_place_of_one_that_leaves() -> None:
    """Whether it was released, cancelled while running or cancelled in line."""
    scheduler = scheduler_of(1)
    line = [marked("past", at=at) for at in range(4)]
    for one in line:
        scheduler.add(one)
    assert same(scheduler.admit(), [line[0]])
    scheduler.release(line[0])
    assert same(scheduler.admit(), [line[1]])
    line[1].request.cancelled.set()
    assert same(scheduler.over(0.0), [line[1]])
    line[2].request.cancelled.set()
    assert same(scheduler.over(0.0), [line[2]])
    assert same(scheduler.admit(), [line[3]])
    scheduler.passed(line[3], "state")
    assert scheduler.admit() == []


def test_one_that_waits_for_another_can_be_cancelled() -> None:
    """It is taken out, and is no longer waited with."""
    scheduler = scheduler_of(1)
    leader, follower = marked("past"), marked("past")
    scheduler.add(leader)
    scheduler.add(follower)
    follower.request.cancelled.set()
    assert same(scheduler.over(0.0), [follower])
    scheduler.passed(leader, "state")
    assert same(scheduler.everything(), [leader])


def test_a_step_ends_at_a_mark() -> None:
    """The tokens up to it are fed first, then the rest."""
    scheduler = scheduler_of(1)
    one = marked("past")
    scheduler.add(one)
    scheduler.admit()
    assert [count for _, count in scheduler.plan()] == [3]
    one.feed(3)
    assert one.is_at_mark
    scheduler.passed(one, "state")
    assert [count for _, count in scheduler.plan()] == [5]


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    slots=st.integers(1, 6),
    prefill_tokens=st.integers(1, 8),
    room=st.integers(0, 12),
)
def test_every_prompt_is_fed_whole_and_nobody_who_generates_waits(
    lengths: list[int], slots: int, prefill_tokens: int, room: int
) -> None:
    """A step keeps to its budgets, every generating sequence is in it, and whoever was admitted first is fed first."""
    max_tokens = slots + prefill_tokens + room
    scheduler = scheduler_of(slots, prefill_tokens=prefill_tokens, max_tokens=max_tokens)
    for at, length in enumerate(lengths):
        scheduler.add(sequence(tokens=length, at=at))
    said = 0
    while not scheduler.idle:
        scheduler.admit()
        generating = [one for one in scheduler.running if not one.in_prefill]
        plan = scheduler.plan()
        assert plan
        assert all(any(one is fed and count == 1 for fed, count in plan) for one in generating)
        prompts = [(one, count) for one, count in plan if one.in_prefill]
        fed = sum(count for _, count in prompts)
        assert fed <= (prefill_tokens + len(scheduler.running) if generating else max_tokens)
        assert sum(count for _, count in plan) <= max_tokens
        assert all(count == one.unfed for one, count in prompts[:-1])
        for one, count in plan:
            one.feed(count) if one.in_prefill else None
            if one.in_prefill:
                continue
            one.tokens.append(1)
            if len(one.tokens) == 3:
                said += 1
                scheduler.release(one)
    assert said == len(lengths)
