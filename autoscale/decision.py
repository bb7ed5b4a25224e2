"""How many workers the farm should have: a pure function of what was observed, with its memory passed in and out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from autoscale.observation import Observation


class Reason(StrEnum):
    """Why a decision is what it is."""

    STEADY = "steady"
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


def decide(policy: Policy, memory: Memory, seen: Observation, floor: int = 0) -> tuple[Decision, Memory]:
    """The decision at a moment, and what to remember of it; `floor` is the forecast's."""
    raise NotImplementedError
