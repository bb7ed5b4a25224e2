"""How many jobs an owner may have, and what whoever asks for one more is told.

Days are UTC's, by the broker's clock. Tokens are those read and generated for jobs that have ended: the job with which
the day's are spent is still answered, and the next one is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from echo_tasks.errors import EchoError, QuotaSpent

_QUOTAS = {"open": "open jobs", "jobs": "jobs a day", "tokens": "tokens a day"}
"""What `lua/create.lua` calls them, and what people do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose a job is, and how many he may have; None: any number. Without a key it is nobody's: `owner` is empty."""

    owner: str = ""
    open_jobs: int | None = None
    jobs_per_day: int | None = None
    tokens_per_day: int | None = None

    def as_args(self) -> list[str | int]:
        """The account as `lua/create.lua` takes it."""
        bounds = (self.open_jobs, self.jobs_per_day, self.tokens_per_day)
        return [self.owner, *("" if bound is None else bound for bound in bounds)]

    def refusal(self, reply: Sequence[str]) -> EchoError | None:
        """What `lua/create.lua` refused a job for, if it was one of these."""
        match reply:
            case ["spent", quota, most, retry_after_s]:
                return QuotaSpent(_QUOTAS[quota], int(most), int(retry_after_s))
        return None
