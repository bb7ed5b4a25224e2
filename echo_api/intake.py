"""Taking a job in: its record first, then its messages. What was answered with 202 is in the ledger."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from echo_api.answers import Answers
from echo_tasks import logs
from echo_tasks.dispatch import Publisher
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.ledger import Idempotency, Ledger
from echo_tasks.messages import JobRequest, JobSpec, JobStatus, Past

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is in the ledger, and its status as far as its maker knows; None for a replay's."""

    job_id: str
    session_id: str
    status: JobStatus | None


class Intake:
    """Accepts jobs on one ledger; `answers` is None where answers are not cached."""

    def __init__(self, ledger: Ledger, publisher: Publisher, answers: Answers | None) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._answers = answers

    def submit(self, request: JobRequest, key: str | None = None) -> Accepted:
        """Accept a job, or find the one that was made under the same idempotency key.

        A replay publishes again where the first maker seems to have died before it could: tasks are
        idempotent. Raises BrokerUnavailable, and then the job is not accepted, and IdempotencyConflict.
        """
        session_id = request.session_id or f"s-{uuid.uuid4().hex}"
        past = self._ledger.past(session_id) if request.session_id else Past()
        job_id = uuid.uuid4().hex
        spec = JobSpec(**(dict(request) | {"session_id": session_id, "job_id": job_id, "past": past}))
        answer = self._answers.lookup(spec) if self._answers else None
        idempotency = Idempotency(key, _fingerprint(request)) if key else None
        created = self._ledger.create(spec, idempotency)
        if created.is_new and answer is not None:
            self._ledger.succeed(spec, answer)
            return Accepted(spec.job_id, spec.session_id, JobStatus.SUCCEEDED)
        if not created.published:
            self._publish(created.job_id, spec, idempotency)
        return Accepted(created.job_id, spec.session_id, JobStatus.QUEUED if created.is_new else None)

    def _publish(self, job_id: str, spec: JobSpec, idempotency: Idempotency | None) -> None:
        try:
            self._publisher.publish(job_id, spec.membranes, spec.priority)
            if idempotency is not None:
                self._ledger.mark_published(idempotency)
        except BrokerUnavailable:
            self._abandon(job_id)
            raise

    def _abandon(self, job_id: str) -> None:
        """Take back a job whose client is told that it was not accepted, if the broker still lets us."""
        try:
            self._ledger.abandon(job_id)
        except BrokerUnavailable as error:
            log.warning("unpublished job left open", job_id=job_id, error=str(error))


def _fingerprint(request: JobRequest) -> str:
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()
