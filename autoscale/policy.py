"""The settings of the decision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds, thresholds as shares of capacity, times in seconds.

    `target` is the share that growth aims at, and that shrinking must not bring about; `burst_s` the window of the fast
    lane; `stabilisation_s` the calm before each shrinking; `missing_s` how long an instance that vanished is counted as
    if it were starting.
    """

    scale_up: float = 0.8
    scale_down: float = 0.3
    least: int = 1
    most: int = 10
    interval_s: float = 30
    is_enabled: bool = True
    target: float = 0.6
    burst_s: float = 4
    stabilisation_s: float = 300
    missing_s: float = 15
