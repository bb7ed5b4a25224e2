"""What became of a step, and how Celery is told of it, so that its events, Flower and dashboards tell the same."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from celery.exceptions import Ignore, Retry, Terminated

from echo_tasks.errors import StepFailed, StepOverdue, StepRejected
from echo_tasks.messages import StepOutput


class Outcome(Enum):
    """What a delivery of a step came to. The value is its word in metrics; some tell more to Celery than there."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "failed", "the request can never be answered"
    OVERDUE = "failed", "the job's time was over"
    CANCELLED = "cancelled"
    POSTPONED = "postponed"
    NOTHING = "cancelled", "there was nothing to do, or no longer"

    @property
    def word(self) -> str:
        """How metrics call it."""
        return self.value if isinstance(self.value, str) else self.value[0]

    @classmethod
    def of(cls, output: StepOutput) -> Outcome:
        """That of a step whose output was recorded."""
        return cls.REJECTED if output.rejected else cls(output.outcome)


class _Steps(Protocol):
    def run(self, job_id: str, step: str) -> Outcome: ...


class Told:
    """Runs steps as the bodies of Celery's tasks do: what came of one is what Celery is told.

    The message is acknowledged whatever that is, since the ledger knows the step: a RETRY is the ledger's, Celery
    publishes nothing. What nothing was done for counts for nothing. No error has another one for its cause, whose
    message might say what was asked.
    """

    def __init__(self, steps: _Steps) -> None:
        self._steps = steps

    def run(self, job_id: str, step: str) -> None:
        """Run a step. Returns when it succeeded; raises StepFailed, and Celery's Retry, Terminated, Ignore, Reject."""
        tell(self._steps.run(job_id, step), step)


def tell(outcome: Outcome, step: str) -> None:
    """Raise what Celery takes for the outcome. Its Terminated is what makes a task REVOKED while it runs."""
    match outcome:
        case Outcome.FAILED:
            raise StepFailed(f"{step}: its record tells why")
        case Outcome.REJECTED:
            raise StepRejected(f"{step}: its record tells why")
        case Outcome.OVERDUE:
            raise StepOverdue(f"{step}: its job's time was over")
        case Outcome.POSTPONED:
            raise Retry(f"{step} is tried again later", exc=StepFailed(f"{step}: it may pass"))
        case Outcome.CANCELLED:
            raise Terminated("cancelled")
        case Outcome.NOTHING:
            raise Ignore(f"{step}: nothing to do")
