"""How many jobs may be open at a time, and what whoever comes beyond that is told.

A job is open from its acceptance to its end, and waits for a membrane until that membrane's output is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from echo_tasks.errors import BrokerUnavailable, EchoError, FarmFull, MembraneFull
from echo_tasks.settings import Settings


@dataclass(frozen=True, slots=True)
class BacklogBounds:
    """How many jobs may be open, and how many may wait for one membrane."""

    jobs: int = 10_000
    per_membrane: int = 5_000

    @classmethod
    def of(cls, settings: Settings) -> BacklogBounds:
        """The bounds that the settings name."""
        return cls(settings.max_queued_jobs, settings.max_queued_per_membrane)

    def refusal(self, reply: Sequence[str]) -> EchoError | None:
        """What `lua/create.lua` refused a job for, if it was one of these bounds or the broker's memory."""
        match reply:
            case ["crowded", "", retry_after_s]:
                return FarmFull(self.jobs, int(retry_after_s))
            case ["crowded", membrane, retry_after_s]:
                return MembraneFull(membrane, self.per_membrane, int(retry_after_s))
            case ["short of memory"]:
                return BrokerUnavailable("its memory is all but used up: no new jobs", reason="memory")
        return None
