"""What the rules of the decision are about: what is seen, beside what is remembered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from autoscale import bounds
from autoscale.bounds import Bound
from autoscale.memory import Memory
from autoscale.observation import Instance, Observation
from autoscale.policy import Policy
from autoscale.smoothing import Sample, averaged


@dataclass(frozen=True)
class Case:
    """A moment to decide at; `memory` has what is seen in it already."""

    policy: Policy
    memory: Memory
    seen: Observation
    floor: int
    asked: int | None

    @cached_property
    def serving(self) -> Sequence[Instance]:
        return self.seen.serving

    @cached_property
    def coming(self) -> int:
        """Instances that will serve anyway: those that start, or those that have vanished for a moment."""
        return max(self.seen.starting or 0, len(self.memory.missing))

    @property
    def current(self) -> int:
        return len(self.serving) + self.coming

    @cached_property
    def hard(self) -> Bound:
        """How many instances there may ever be."""
        return bounds.hard(self.policy, self.seen.room)

    @cached_property
    def bound(self) -> Bound:
        """What keeps the farm from growing."""
        return bounds.tightest(self.policy, self.seen.room, self.memory.gains)

    @property
    def least(self) -> int:
        return min(self.policy.least, self.hard.most)

    @property
    def is_due(self) -> bool:
        """Whether the interval since the last regular decision is over."""
        return self.seen.at - self.memory.decided_at >= self.policy.interval_s

    @property
    def is_new(self) -> bool:
        """Whether what came before is not known."""
        return len(self.memory.samples) < 2

    @cached_property
    def mean(self) -> Sample:
        """Of the latest interval."""
        return averaged(self.memory.samples, self.policy.interval_s)

    @property
    def now(self) -> float:
        """The demand of this moment."""
        return self.memory.samples[-1].demand

    @cached_property
    def ahead(self) -> float:
        """What the demand will be when what is ordered now serves, if it goes on growing as it does.

        It looks ahead no further than it looks back, and back no further than an interval.
        """
        samples = self.memory.samples
        since = samples[-1].at - self.policy.startup_s
        first = next((one for one in reversed(samples) if one.at <= since), samples[0])
        span_s = samples[-1].at - first.at
        growth = max(0.0, self.now - first.demand)
        return self.now + growth * min(1.0, self.policy.startup_s / span_s if span_s else 0.0)

    @property
    def utilisation(self) -> float:
        """The demand's share of capacity over the interval; where nobody serves, of a single slot."""
        return self.mean.demand / max(1.0, self.mean.slots)

    def share(self, demand: float, instances: int) -> float:
        """The demand's share of the capacity of so many instances."""
        capacity = self.memory.slots * instances
        return demand / capacity if capacity else math.inf if demand else 0.0

    def enough(self, demand: float) -> int:
        """The least number of instances, within the bounds, of whose capacity the demand is no more than the target."""
        if not self.memory.slots:
            return self.least
        wanted = math.ceil(demand / (self.policy.target * self.memory.slots))
        return max(self.least, min(self.bound.most, wanted))

    @cached_property
    def peak(self) -> float:
        """The highest demand of the stabilisation window's intervals."""
        since = self.seen.at - self.policy.stabilisation_s
        return max(self.mean.demand, *(peak.demand for peak in self.memory.peaks if peak.at > since), 0.0)

    def victims(self, count: int) -> Sequence[str]:
        """Whom to drain, for so many fewer: who runs the least, and of those the youngest."""
        order = sorted(self.serving, key=lambda one: (one.busy, -one.started_at, one.node))
        return [instance.node for instance in order[: max(0, count)]]
