"""When a process that died is started again, and when that is hopeless: a pure function of how long it ran."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0

HEALTHY_AFTER_S = 30.0
"""A process that ran so long was healthy: what made it end is no fault that it starts with."""

MOST_EARLY_DEATHS = 5
"""So many deaths in a row, before it ever was healthy, are a fault that another start does not cure."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The past of a process, as far as its next start depends on it."""

    was_healthy: bool = False
    early_deaths: int = 0

    def after(self, ran_s: float) -> Backoff:
        """The past once the process has died after `ran_s` seconds."""
        if ran_s >= HEALTHY_AFTER_S:
            return Backoff(was_healthy=True)
        return Backoff(self.was_healthy, self.early_deaths + 1)

    @property
    def pause_s(self) -> float:
        """Seconds until the next start: they double with every death that comes early."""
        doublings = min(max(self.early_deaths - 1, 0), 16)
        return min(FIRST_PAUSE_S * 2.0**doublings, LONGEST_PAUSE_S)

    @property
    def is_hopeless(self) -> bool:
        """Whether it has died too often without ever having been healthy."""
        return not self.was_healthy and self.early_deaths >= MOST_EARLY_DEATHS
