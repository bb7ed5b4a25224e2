"""How many workers the farm should have: a pure function of what was observed, with its memory passed in and out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from autoscale.observation import Observation


class Reason(StrEnum):
    """Why a decision is what it is."""

    STEADY = "steady"
    BETWEEN = "between_intervals"
    SCALE_UP = "scale_up"
    BURST = "burst"
    FORECAST = "forecast"
    BELOW_MIN = "below_min"
    ABOVE_MAX = "above_max"
    AT_MAX = "at_max"
    SCALE_DOWN = "scale_down"
    STABILISING = "stabilising"
    CONSOLIDATION_REFUSED = "consolidation_refused"
    SCALING_IN_PROGRESS = "scaling_in_progress"
    INSUFFICIENT_DATA = "insufficient_data"
    DISABLED = "disabled"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Policy:
    """The settings of the decision; thresholds are shares of capacity, times seconds."""

    scale_up: float = 0.8
    scale_down: float = 0.3
    least: int = 1
    most: int = 10
    interval_s: float = 30
    is_enabled: bool = True
    stabilisation_s: float = 300


@dataclass(frozen=True, slots=True)
class Decision:
    """How many instances there should be; `victims` are the nodes to drain, for fewer."""

    at: float
    current: int
    desired: int
    reason: Reason
    utilisation: float
    victims: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What a decision remembers of those before it. A fresh one is that of a controller that has just started."""

    calm_since: float | None = None


def decide(policy: Policy, memory: Memory, seen: Observation, floor: int = 0) -> tuple[Decision, Memory]:
    """The decision at a moment, and what to remember of it; `floor` is the forecast's."""
    serving = sorted(seen.serving, key=lambda one: (one.busy, -one.started_at, one.node))
    current = len(serving) + (seen.starting or 0)
    slots = sum(one.slots for one in serving) / max(1, len(serving))
    share = seen.demand / max(1.0, slots * current)
    desired, reason = _verdict(policy, memory, seen, current, slots, share, floor)
    is_calm = seen.starting is not None and share < policy.scale_down and desired == current
    since = (memory.calm_since if memory.calm_since is not None else seen.at) if is_calm else None
    victims = [one.node for one in serving[: max(0, len(serving) - desired)]]
    return Decision(seen.at, current, desired, reason, share, victims), Memory(since)


def _verdict(
    policy: Policy, memory: Memory, seen: Observation, current: int, slots: float, share: float, floor: int
) -> tuple[int, Reason]:
    wanted = max(math.ceil(seen.demand / (0.6 * max(1.0, slots))), floor)
    if seen.starting is None:
        return current, Reason.INSUFFICIENT_DATA
    if current < policy.least or current > policy.most:
        is_below = current < policy.least
        return (policy.least, Reason.BELOW_MIN) if is_below else (policy.most, Reason.ABOVE_MAX)
    if not policy.is_enabled:
        return current, Reason.DISABLED
    if share > policy.scale_up and wanted > current:
        return min(wanted, policy.most), Reason.SCALE_UP if current < policy.most else Reason.AT_MAX
    if share < policy.scale_down and current > policy.least:
        is_over = memory.calm_since is not None and seen.at - memory.calm_since >= policy.stabilisation_s
        return (current - 1, Reason.SCALE_DOWN) if is_over else (current, Reason.STABILISING)
    return current, Reason.STEADY
