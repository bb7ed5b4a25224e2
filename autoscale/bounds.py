"""How many instances there may be, and why not more."""

from __future__ import annotations

from dataclasses import dataclass

from autoscale.gains import Gains
from autoscale.observation import Room
from autoscale.policy import Policy
from autoscale.reason import Reason


@dataclass(frozen=True, slots=True)
class Bound:
    """How many instances there may be, the reason of a decision that it stops, and both in words."""

    most: int
    reason: Reason
    told: str


def hard(policy: Policy, room: Room | None) -> Bound:
    """The one that holds for everybody: as many as are allowed, and as the machines carry; one at least."""
    allowed = Bound(policy.most, Reason.AT_MAX, f"MAX_INSTANCES={policy.most}")
    if room is None or room.most >= allowed.most:
        return allowed
    return Bound(max(1, room.most), Reason.HOST_FULL, f"host full: {room.bound}")


def tightest(policy: Policy, room: Room | None, gains: Gains) -> Bound:
    """That, or the ceiling above which growth did not pay."""
    outer = hard(policy, room)
    if gains.ceiling is None or gains.ceiling >= outer.most:
        return outer
    return Bound(gains.ceiling, Reason.NO_GAIN, f"more than {gains.good} did no more")
