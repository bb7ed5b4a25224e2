"""When a process that died is started again, and when that is hopeless: a pure function of how long it ran."""

from __future__ import annotations

from dataclasses import dataclass, replace

MOST_PAUSES = 30
"""The longest pause, in first ones. A process that ran so long was healthy: it does not start with what ended it."""

MOST_EARLY_DEATHS = 5
"""So many deaths in a row, before it ever was healthy, are a fault that another start does not cure."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The past of a process, as far as its next start depends on it; `first_pause_s` is RESTART_PAUSE_S."""

    first_pause_s: float = 1.0
    was_healthy: bool = False
    early_deaths: int = 0

    def after(self, ran_s: float) -> Backoff:
        """The past once the process has died after `ran_s` seconds."""
        if ran_s >= self.longest_pause_s:
            return Backoff(self.first_pause_s, was_healthy=True)
        return replace(self, early_deaths=self.early_deaths + 1)

    @property
    def longest_pause_s(self) -> float:
        """The longest pause, and how long a healthy process has run."""
        return MOST_PAUSES * self.first_pause_s

    @property
    def pause_s(self) -> float:
        """Seconds until the next start: they double with every death that comes early."""
        doublings = min(max(self.early_deaths - 1, 0), 16)
        return min(self.first_pause_s * 2.0**doublings, self.longest_pause_s)

    @property
    def is_hopeless(self) -> bool:
        """Whether it has died too often without ever having been healthy."""
        return not self.was_healthy and self.early_deaths >= MOST_EARLY_DEATHS
