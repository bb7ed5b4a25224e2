"""How many workers the farm should have: a pure function of what was observed, with its memory passed in and out.

It grows in one jump to where the demand is `target` of capacity: where the average of an interval is above `scale_up`,
and at once where, with all that are starting, hardly a slot is free. It never grows beyond what its machines carry, and
what a growth did not pay for is drained again (`gains.py`). It shrinks by one at a time, by draining, and only where a
whole stabilisation window was below `scale_down`. What is missing is never taken for calm: the farm stays as it is
then, and the window begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoscale.bounds import Bound
from autoscale.case import Case
from autoscale.memory import Memory
from autoscale.observation import Observation
from autoscale.policy import Policy
from autoscale.reason import Reason

__all__ = ["Decision", "Memory", "Policy", "Reason", "decide"]

HARDLY_FREE = 0.95
"""Share of the slots above which the fast lane does not wait for the interval's end."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many instances there should be; `victims` are the nodes to drain, for fewer.

    `current` are those that serve and those that are about to. `utilisation` is the demand's share of capacity over the
    interval, above 1 where something waits. `bound` is the tightest of the size's bounds; the rest is what the decision
    was made of.
    """

    at: float
    current: int
    desired: int
    reason: Reason
    utilisation: float
    victims: Sequence[str] = ()
    demand: float = 0.0
    oldest_s: float = 0.0
    floor: int = 0
    bound: Bound | None = None


def decide(
    policy: Policy, memory: Memory, seen: Observation, floor: int = 0, asked: int | None = None
) -> tuple[Decision, Memory]:
    """The decision at a moment, and what to remember of it.

    `floor` is the forecast's: it raises, and never lowers. `asked` is how many a person wants, to be asked until there
    are so many: it is granted within the bounds, unless data are missing.
    """
    memory = memory.of(policy, seen)
    if asked is not None:
        memory = memory.hearing(asked)
    case = Case(policy, memory, seen, floor, asked)
    desired, reason = next(verdict for rule in _RULES if (verdict := rule(case)))
    decision = Decision(
        at=seen.at,
        current=case.current,
        desired=desired,
        reason=reason,
        utilisation=case.utilisation,
        victims=case.victims(case.current - desired),
        demand=case.mean.demand,
        oldest_s=seen.oldest_s,
        floor=floor,
        bound=case.bound,
    )
    is_unrest = desired > case.current or reason is Reason.INSUFFICIENT_DATA
    return decision, memory.after(policy, decision.victims, is_due=case.is_due, is_unrest=is_unrest)


Verdict = tuple[int, Reason]


def _unknown(case: Case) -> Verdict | None:
    return (case.current, Reason.INSUFFICIENT_DATA) if case.seen.starting is None else None


def _asked(case: Case) -> Verdict | None:
    """A person is heard before everything else, within the bounds; as many serve while others start."""
    if case.asked is None:
        return None
    wanted = max(case.least, min(case.hard.most, case.asked))
    kept = min(len(case.serving), wanted)
    return max(wanted, kept + case.coming), Reason.ASKED


def _bounds(case: Case) -> Verdict | None:
    """Repaired at once. What starts cannot be called off: for each one too many, one that serves goes."""
    if case.current < case.least:
        return case.least, Reason.BELOW_MIN
    excess = len(case.serving) + (case.seen.starting or 0) - case.hard.most
    reason = Reason.ABOVE_MAX if case.hard.reason is Reason.AT_MAX else case.hard.reason
    return (case.current - min(excess, len(case.serving)), reason) if excess > 0 else None


def _disabled(case: Case) -> Verdict | None:
    return None if case.policy.is_enabled else (case.current, Reason.DISABLED)


def _no_gain(case: Case) -> Verdict | None:
    """A growth that did not pay is taken back, to the size that did."""
    gains = case.memory.gains
    if gains.ceiling is None or case.current <= gains.ceiling:
        return None
    return max(case.least, gains.good), Reason.NO_GAIN


def _burst(case: Case) -> Verdict | None:
    """The fast lane: with all that start, hardly a slot is free now. Once something waits it is a start-up too late."""
    if case.is_new or case.share(case.now, case.current) <= min(HARDLY_FREE, case.policy.scale_up * 1.25):
        return None
    return _grown(case, case.ahead, Reason.BURST)


def _forecast(case: Case) -> Verdict | None:
    wanted = min(case.floor, case.bound.most)
    return (wanted, Reason.FORECAST) if wanted > case.current else None


def _between(case: Case) -> Verdict | None:
    return None if case.is_due else (case.current, Reason.BETWEEN)


def _busy(case: Case) -> Verdict | None:
    """The average is above the threshold, and what is there now is, too: a backlog that is gone needs nobody."""
    demand = min(case.mean.demand, case.now)
    if case.share(demand, len(case.serving)) <= case.policy.scale_up:
        return None
    if case.share(demand, case.current) <= case.policy.scale_up:
        return case.current, Reason.SCALING_IN_PROGRESS
    return _grown(case, demand, Reason.SCALE_UP)


def _overdue(case: Case) -> Verdict | None:
    """Something has waited for an interval, and not because nobody has anything to do: one more, and look again."""
    is_late = case.seen.oldest_s > case.policy.interval_s and case.utilisation >= case.policy.scale_down
    if not is_late:
        return None
    if case.coming:
        return case.current, Reason.SCALING_IN_PROGRESS
    if case.current >= case.bound.most:
        return case.current, case.bound.reason
    return case.current + 1, Reason.OVERDUE


def _calm(case: Case) -> Verdict | None:
    """One fewer, where a whole window says that it is not needed, and the rest would not be too busy without it."""
    policy, current = case.policy, case.current
    if case.share(case.mean.demand, current) >= policy.scale_down or current <= case.least:
        return None
    if case.coming:
        return current, Reason.SCALING_IN_PROGRESS
    is_calm = case.seen.at - case.memory.unrest_at >= policy.stabilisation_s
    if not is_calm or case.share(case.peak, current) >= policy.scale_down:
        return current, Reason.STABILISING
    if case.share(case.peak, current - 1) > policy.target:
        return current, Reason.CONSOLIDATION_REFUSED
    if current <= case.floor:
        return current, Reason.FORECAST
    return current - 1, Reason.SCALE_DOWN


def _steady(case: Case) -> Verdict:
    return case.current, Reason.STEADY


def _grown(case: Case, demand: float, reason: Reason) -> Verdict | None:
    """In one jump as far as needed."""
    enough = case.enough(demand)
    if enough > case.current:
        return enough, reason
    return (case.current, case.bound.reason) if case.current >= case.bound.most else None


_RULES: Sequence[Callable[[Case], Verdict | None]] = (
    _unknown,
    _asked,
    _bounds,
    _disabled,
    _no_gain,
    _burst,
    _forecast,
    _between,
    _busy,
    _overdue,
    _calm,
    _steady,
)
"""In order: the first that has something to say decides."""
