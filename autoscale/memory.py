"""What a decision remembers of those before it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from autoscale.gains import Gains
from autoscale.observation import Observation
from autoscale.policy import Policy
from autoscale.smoothing import Sample, averaged, kept


@dataclass(frozen=True, slots=True)
class Memory:
    """A fresh one is that of a controller that has just started: it takes the farm as it finds it.

    `peaks` are the averages of the latest intervals, of a whole stabilisation window; `unrest_at` is when the farm last
    grew or data were missing; `serving` are the nodes that took work; `missing` those that vanished without a drain,
    and when: they come back, are replaced, or are given up in time. `slots` are those of one instance. `gains` are what
    sizes have brought.
    """

    samples: tuple[Sample, ...] = ()
    peaks: tuple[Sample, ...] = ()
    decided_at: float = -math.inf
    unrest_at: float = -math.inf
    serving: frozenset[str] = frozenset()
    missing: tuple[tuple[str, float], ...] = ()
    slots: float = 0.0
    gains: Gains = field(default_factory=Gains)

    def of(self, policy: Policy, seen: Observation) -> Memory:
        """With what is seen next; where too much time has passed since, or none, all before it is forgotten."""
        if self.samples and not 0 < seen.at - self.samples[-1].at <= policy.stale_s:
            return Memory(slots=self.slots, gains=self.gains).of(policy, seen)
        serving = seen.serving
        slots = sum(instance.slots for instance in serving)
        demand = sum(instance.busy for instance in serving) + seen.delivered + seen.ready
        samples = kept(self.samples, Sample(seen.at, demand, slots), policy.interval_s)
        present = {instance.node for instance in seen.instances}
        vanished = sorted(self.serving - present)
        awaited = [(node, at) for node, at in self.missing if node not in present and seen.at - at < policy.missing_s]
        return replace(
            self,
            samples=samples,
            unrest_at=seen.at if vanished or not self.samples else self.unrest_at,
            serving=frozenset(instance.node for instance in serving),
            missing=(*awaited, *((node, seen.at) for node in vanished)),
            slots=slots / len(serving) if serving else self.slots,
            gains=self.gains.of(seen, policy.interval_s, policy.scale_up),
        )

    def hearing(self, asked: int) -> Memory:
        """The same for somebody who asks for so many: a ceiling below that is tried anew."""
        ceiling = self.gains.ceiling
        return self if ceiling is None or asked <= ceiling else replace(self, gains=self.gains.without_ceiling())

    def after(self, policy: Policy, victims: Iterable[str], *, is_due: bool, is_unrest: bool) -> Memory:
        """The same after a decision: whom it lets go is not missed; its interval counts, and what is no calm."""
        now, peaks = self.samples[-1].at, self.peaks
        if is_due:
            recent = [peak for peak in peaks if peak.at > now - policy.stabilisation_s]
            peaks = (*recent, averaged(self.samples, policy.interval_s))
        return replace(
            self,
            serving=self.serving.difference(victims),
            peaks=peaks,
            decided_at=now if is_due else self.decided_at,
            unrest_at=now if is_unrest else self.unrest_at,
        )
