"""Which sequences are fed in the next step. Knows no torch, and no clock but what it is told."""

from __future__ import annotations

import heapq
import itertools

from echo_tasks.errors import EngineFull
from workers.sequence import Sequence

AGE_S = 10.0
"""Seconds in line that weigh as much as one step of priority: nobody waits for ever behind what is urgent."""


class Scheduler:
    """Sequences in line, the most urgent and oldest first, and those that hold one of the slots."""

    def __init__(self, slots: int, *, prefill_tokens: int, max_tokens: int, max_waiting: int) -> None:
        """A step is fed at most `max_tokens`, and while any sequence is generating, no more than `prefill_tokens` of
        prompts and one for each that is: so that a prompt makes their step about twice as long, however many they are.
        """
        self._slots = slots
        self._prefill_tokens = prefill_tokens
        self._max_tokens = max_tokens
        self._max_waiting = max_waiting
        self._waiting: list[tuple[float, int, Sequence]] = []
        self._arrival = itertools.count()
        self.running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Put a sequence in line. Raises EngineFull when the line is as long as it may be."""
        if len(self._waiting) >= self._max_waiting:
            raise EngineFull(f"{len(self._waiting)} requests are waiting already")
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
        budget = min(self._prefill_tokens + len(fed) if fed else self._max_tokens, self._max_tokens - len(fed))
        for sequence in self.running:
            if sequence.in_prefill and budget > 0:
                chunk = min(budget, sequence.unfed)
                fed.append((sequence, chunk))
                budget -= chunk
        return fed

    def release(self, sequence: Sequence) -> None:
        """Free the slot of a sequence that has ended."""
        self.running.remove(sequence)

    def over(self, now: float) -> list[Sequence]:
        """Take out all that were cancelled or are past their deadline, running or in line."""
        asked = [(entry, entry[2].is_over(now)) for entry in self._waiting]  # once: a cancellation may come meanwhile
        if any(is_over for _, is_over in asked):
            self._waiting = [entry for entry, is_over in asked if not is_over]
            heapq.heapify(self._waiting)
        gone = [sequence for sequence in self.running if sequence.is_over(now)]
        for sequence in gone:
            self.running.remove(sequence)
        return gone + [entry[2] for entry, is_over in asked if is_over]

    def everything(self) -> list[Sequence]:
        """All sequences, those running first."""
        return self.running + [sequence for _, _, sequence in sorted(self._waiting)]

    def drain(self) -> list[Sequence]:
        """Take out everything, running and in line."""
        everything = self.everything()
        self.running, self._waiting = [], []
        return everything

    @property
    def waiting(self) -> int:
        """How many are in line."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        return not self.running and not self._waiting
