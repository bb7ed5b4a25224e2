"""Deciding by hand: as many workers as somebody asked for."""

from __future__ import annotations

from collections.abc import Sequence

from autoscale.decision import Decision, Policy, Reason
from autoscale.observation import Instance, Observation


def asked(seen: Observation, count: int, policy: Policy) -> Decision:
    """As many as somebody asked for, within the bounds."""
    desired = min(max(count, policy.least), policy.most)
    victims = [instance.node for instance in _idlest(seen.serving, len(seen.serving) - desired)]
    return Decision(seen.at, _current(seen), desired, Reason.ASKED, _utilisation(seen), victims)


def _idlest(serving: Sequence[Instance], count: int) -> Sequence[Instance]:
    """Of those that serve the ones with the fewest steps, the youngest first among equals."""
    return sorted(serving, key=lambda instance: (instance.busy, -instance.started_at))[: max(0, count)]


def _utilisation(seen: Observation) -> float:
    """Steps that are wanted by slots that serve, at this moment; 0 where nothing is wanted."""
    slots = sum(instance.slots for instance in seen.serving)
    return seen.demand / max(1, slots)


def _current(seen: Observation) -> int:
    return len(seen.serving) + (seen.starting or 0)
