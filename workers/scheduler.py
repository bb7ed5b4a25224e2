"""Which sequences are fed in the next step. Knows no torch, and no clock but what it is told."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable
from typing import Any

from echo_tasks.errors import EngineFull
from workers.marks import Mark
from workers.sequence import Sequence

AGE_S = 10.0
"""Seconds in line that weigh as much as one step of priority: nobody waits for ever behind what is urgent."""


class Scheduler:
    """Sequences in line, the most urgent and oldest first, and those that hold one of the slots."""

    def __init__(self, slots: int, *, prefill_tokens: int, max_tokens: int, max_waiting: int) -> None:
        """A step is fed at most `max_tokens`, and while any sequence is generating, no more than `prefill_tokens` of
        prompts and one for each that runs: one prompt makes a step of many about twice as long, and many prompts are
        not held up by the few who are through.
        """
        self._slots = slots
        self._prefill_tokens = prefill_tokens
        self._max_tokens = max_tokens
        self._max_waiting = max_waiting
        self._waiting: list[tuple[float, int, Sequence]] = []
        self._arrival = itertools.count()
        self._leading: dict[str, Sequence] = {}  # by the keys of all marks that they are on their way to
        self._held: dict[str, list[Sequence]] = {}  # those that wait for one of these to get there
        self.running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Put a sequence in line, or have it wait for another one that is on its way to a mark of both.

        Raises EngineFull when the line is as long as it may be.
        """
        if self.waiting >= self._max_waiting:
            raise EngineFull(f"{self.waiting} requests are waiting already")
        self._add(sequence)

    def leads_to(self, key: str) -> bool:
        """Whether a sequence is on its way to this mark."""
        return key in self._leading

    def passed(self, sequence: Sequence, state: Any) -> None:
        """Take note that a sequence is at its next mark, in this state: who waited for that goes on from there."""
        mark = sequence.marks.pop(0)
        for follower in self._lead_no_more(sequence, [mark]):
            follower.resume(mark.tokens, state)
            self._add(follower)

    def _add(self, sequence: Sequence) -> None:
        if mark := self._worth_waiting_for(sequence):
            self._held.setdefault(mark.key, []).append(sequence)
            return
        for mark in sequence.marks:
            self._leading.setdefault(mark.key, sequence)
        # priority + waited / AGE_S, all but what is the same for everybody at any time: so the order never changes
        urgency = sequence.request.priority - sequence.submitted_at / AGE_S
        heapq.heappush(self._waiting, (-urgency, next(self._arrival), sequence))

    def admit(self) -> list[Sequence]:
        """Move sequences in line into free slots; returns those moved."""
        admitted = []
        while self._waiting and len(self.running) < self._slots:
            sequence = heapq.heappop(self._waiting)[2]
            self.running.append(sequence)
            admitted.append(sequence)
        return admitted

    def plan(self) -> list[tuple[Sequence, int]]:
        """Who is fed how many tokens now: one to whoever generates, chunks of prompts to whoever came first."""
        fed = [(sequence, 1) for sequence in self.running if not sequence.in_prefill]
        budget = min(self._prefill_tokens + len(self.running) if fed else self._max_tokens, self._max_tokens - len(fed))
        for sequence in self.running:
            if sequence.in_prefill and budget > 0:
                chunk = min(budget, sequence.unfed_to_mark)
                fed.append((sequence, chunk))
                budget -= chunk
        return fed

    def release(self, sequence: Sequence) -> None:
        """Free the slot of a sequence that has ended."""
        self.running.remove(sequence)
        self._succeed([sequence])

    def over(self, now: float) -> list[Sequence]:
        """Take out all that were cancelled or are past their deadline, running or in line."""
        asked = [(entry, entry[2].is_over(now)) for entry in self._waiting]  # once: a cancellation may come meanwhile
        if any(is_over for _, is_over in asked):
            self._waiting = [entry for entry, is_over in asked if not is_over]
            heapq.heapify(self._waiting)
        gone = [sequence for sequence in self.running if sequence.is_over(now)]
        for sequence in gone:
            self.running.remove(sequence)
        gone += [entry[2] for entry, is_over in asked if is_over]
        for key, followers in self._held.items():
            late = [follower for follower in followers if follower.is_over(now)]
            self._held[key] = [follower for follower in followers if follower not in late]
            gone += late
        self._succeed(gone)
        return gone

    def everything(self) -> list[Sequence]:
        """All sequences, those running first."""
        held = [follower for followers in self._held.values() for follower in followers]
        return self.running + [sequence for _, _, sequence in sorted(self._waiting)] + held

    def drain(self) -> list[Sequence]:
        """Take out everything, running and in line."""
        everything = self.everything()
        self.running, self._waiting, self._leading, self._held = [], [], {}, {}
        return everything

    @property
    def waiting(self) -> int:
        """How many are in line, or wait for another."""
        return len(self._waiting) + sum(map(len, self._held.values()))

    @property
    def idle(self) -> bool:
        return not self.running and not self._waiting

    def _worth_waiting_for(self, sequence: Sequence) -> Mark | None:
        """The last mark that another is on its way to, but for the prompt's end: nothing would be left to feed."""
        ahead = (mark for mark in reversed(sequence.marks) if mark.tokens < sequence.prompt_tokens)
        return next((mark for mark in ahead if mark.key in self._leading), None)

    def _succeed(self, gone: list[Sequence]) -> None:
        """Of those who waited for a sequence that has left before their mark, the first goes on in its place."""
        for sequence in gone:
            for follower in self._lead_no_more(sequence, sequence.marks):
                self._add(follower)

    def _lead_no_more(self, sequence: Sequence, marks: Iterable[Mark]) -> list[Sequence]:
        """Those who waited for it to reach one of these marks."""
        led = [mark.key for mark in marks if self._leading.get(mark.key) is sequence]
        for key in led:
            del self._leading[key]
        return [follower for key in led for follower in self._held.pop(key, [])]
