"""The settings of the decision."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds, thresholds as shares of capacity, times in seconds.

    `target` is the share that growth aims at, and that shrinking must not bring about. `stabilisation_s` is the calm
    before each shrinking. `startup_s` is what passes before an instance that is ordered serves: so far ahead the fast
    lane looks. `missing_s` is how long an instance that vanished is counted as if it were starting.
    """

    scale_up: float = 0.8
    scale_down: float = 0.3
    least: int = 1
    most: int = 10
    interval_s: float = 30
    is_enabled: bool = True
    target: float = 0.6
    stabilisation_s: float = 300
    startup_s: float = 5
    missing_s: float = 15

    @property
    def stale_s(self) -> float:
        """Observations that are further apart do not make an average."""
        return max(self.interval_s, 10.0)
