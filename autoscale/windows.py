"""What a farm did while it was made of the same workers: pure, and by the observations' own clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoscale.observation import Observation

LATE_S = 2.0
"""So old may the counts be that workers tell of themselves."""

LEAST_S = 4 * LATE_S
"""A shorter look at a size says nothing."""

ENOUGH_STEPS = 50
"""Fewer say nothing of what a step usually is."""

Crew = frozenset[tuple[str, float]]
"""Workers by their nodes and the moments at which they started."""


@dataclass(frozen=True, slots=True)
class Work:
    """Steps and tokens a second, by `rows` steps at a time on average, seen for `span_s` seconds up to `at`."""

    steps: float
    tokens: float
    rows: float
    span_s: float
    at: float

    @property
    def sure(self) -> tuple[float, float]:
        """What it was at least: workers tell their counts late, which matters the more the shorter the look."""
        share = 1 - LATE_S / self.span_s
        return self.tokens * share, self.steps * share

    def beside(self, base: Work) -> float:
        """How many times the other's work it is, by steps or by tokens; infinite where the other has done nothing."""
        pairs = (self.steps, base.steps), (self.tokens, base.tokens)
        return max((now / before for now, before in pairs if before > 0), default=math.inf)


@dataclass(frozen=True, slots=True)
class Mark:
    """Counts at a moment, and what is wanted and can be run then."""

    at: float
    steps: int
    tokens: int
    demand: int
    slots: int


@dataclass(frozen=True, slots=True)
class Window:
    """The marks of a time in which the farm was made of the same workers; `is_settled`: and no others came or went."""

    crew: Crew = frozenset()
    is_settled: bool = False
    marks: tuple[Mark, ...] = ()

    @property
    def span_s(self) -> float:
        return self.marks[-1].at - self.marks[0].at if self.marks else 0.0

    @property
    def work(self) -> Work:
        first, last = self.marks[0], self.marks[-1]
        return Work(
            steps=(last.steps - first.steps) / self.span_s,
            tokens=(last.tokens - first.tokens) / self.span_s,
            rows=sum(min(mark.demand, mark.slots) for mark in self.marks) / len(self.marks),
            span_s=self.span_s,
            at=last.at,
        )

    @property
    def demand(self) -> float:
        """On average."""
        return sum(mark.demand for mark in self.marks) / len(self.marks)

    @property
    def kind(self) -> float:
        """Tokens a step; 0 where hardly a step has ended."""
        steps = self.marks[-1].steps - self.marks[0].steps
        return (self.marks[-1].tokens - self.marks[0].tokens) / steps if steps >= ENOUGH_STEPS else 0.0

    def moved(self, seen: Observation, window_s: float) -> Window:
        """With what is seen next, and without what is further back than the window; a new one for other workers."""
        serving = seen.serving
        crew = frozenset((one.node, one.started_at) for one in serving)
        is_settled = seen.starting == 0 and len(serving) == len(seen.instances)
        tokens, slots = sum(one.tokens for one in serving), sum(one.slots for one in serving)
        mark = Mark(seen.at, seen.steps, tokens, seen.demand, slots)
        is_same = (crew, is_settled) == (self.crew, self.is_settled)
        if not is_same or not self.marks or not 0 < mark.at - self.marks[-1].at <= window_s:
            return Window(crew, is_settled, (mark,))
        first = 0
        while first + 1 < len(self.marks) and self.marks[first + 1].at <= mark.at - window_s:
            first += 1
        return Window(crew, is_settled, (*self.marks[first:], mark))
