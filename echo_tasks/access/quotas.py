"""How many jobs and sessions an owner may have, and what whoever asks for one more is told.

Days are UTC's, by the broker's clock. Tokens are those read and generated for jobs that have ended, answered or not:
the job with which the day's are spent is still answered, and the next one is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from echo_tasks.errors import EchoError, QuotaSpent

_QUOTAS = {"open": "open jobs", "jobs": "jobs a day", "tokens": "tokens a day", "sessions": "live sessions"}
"""What the scripts call them, and what people do."""


@dataclass(frozen=True, slots=True)
class Account:
    """Whose jobs and sessions are, and how many he may have; None: any number. Without a key `owner` is empty."""

    owner: str = ""
    open_jobs: int | None = None
    jobs_per_day: int | None = None
    tokens_per_day: int | None = None
    sessions: int | None = None

    @property
    def beginning(self) -> str:
        """What the ids of his sessions begin with."""
        return f"{self.owner}_" if self.owner else ""

    def of_sessions(self) -> list[str | int]:
        """The bound of his sessions as the scripts take it that make one."""
        return [self.beginning, "" if self.sessions is None else self.sessions]

    def as_args(self) -> list[str | int]:
        """The account as `lua/create.lua` takes it."""
        bounds = (self.open_jobs, self.jobs_per_day, self.tokens_per_day)
        return [self.owner, *("" if bound is None else bound for bound in bounds), *self.of_sessions()]

    def refusal(self, reply: Sequence[str]) -> EchoError | None:
        """What a script refused a job or a session for, if it was one of these."""
        match reply:
            case ["spent", quota, most, retry_after_s]:
                return QuotaSpent(_QUOTAS[quota], int(most), int(retry_after_s))
        return None


NOBODY = Account()
"""Of what is asked for without a key."""
