"""Which sequence runs next. Knows no torch: it is told of sequences, and says which hold a slot."""

from __future__ import annotations

import heapq
import itertools

from workers.sequence import Sequence


class Scheduler:
    """Sequences waiting, highest priority and then oldest first, and those that hold one of the slots."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._waiting: list[tuple[int, int, Sequence]] = []
        self._arrival = itertools.count()
        self.running: list[Sequence] = []

    def add(self, sequence: Sequence) -> None:
        """Put a sequence in line."""
        heapq.heappush(self._waiting, (-sequence.request.priority, next(self._arrival), sequence))

    def admit(self) -> list[Sequence]:
        """Move waiting sequences into free slots; returns those moved."""
        admitted = []
        while self._waiting and len(self.running) < self._slots:
            sequence = heapq.heappop(self._waiting)[2]
            self.running.append(sequence)
            admitted.append(sequence)
        return admitted

    def release(self, sequence: Sequence) -> None:
        """Free the slot of a sequence that has ended."""
        self.running.remove(sequence)

    def drain(self) -> list[Sequence]:
        """Take out everything, running and waiting."""
        everything = self.running + [sequence for _, _, sequence in sorted(self._waiting)]
        self.running, self._waiting = [], []
        return everything

    @property
    def idle(self) -> bool:
        return not self.running and not self._waiting
