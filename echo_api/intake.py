"""Taking a job in: its record first, then its messages. What was answered with 202 is in the ledger."""

from __future__ import annotations

import hashlib
import uuid

from echo_api.answers import Answers
from echo_tasks import logs
from echo_tasks.dispatch import Publisher
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.ledger import Created, Idempotency, Ledger
from echo_tasks.messages import JobError, JobRequest, JobSpec

log = logs.get(__name__)


class Intake:
    """Accepts jobs on one ledger; `answers` is None where answers are not cached."""

    def __init__(self, ledger: Ledger, publisher: Publisher, answers: Answers | None) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._answers = answers

    def submit(self, request: JobRequest, key: str | None = None) -> tuple[JobSpec, Created]:
        """Accept a job, or find the one that was made under the same idempotency key.

        A replay publishes again where the first attempt may have died before it could: tasks are
        idempotent. Raises BrokerUnavailable, and then the job is not accepted; IdempotencyConflict.
        """
        spec = JobSpec(
            **(dict(request) | {"session_id": request.session_id or f"s-{uuid.uuid4().hex}"}),
            job_id=uuid.uuid4().hex,
        )
        idempotency = Idempotency(key, _fingerprint(request)) if key else None
        created = self._ledger.create(spec, idempotency)
        if not created.published:
            if not (created.is_new and self._answer(spec)):
                self._publish(spec, created, idempotency)
            if idempotency is not None:
                self._ledger.mark_published(idempotency)
        return spec, created

    def _answer(self, spec: JobSpec) -> bool:
        """End a new job at once with an answer that the farm has given before; whether there was one."""
        answer = self._answers.lookup(spec) if self._answers else None
        return answer is not None and self._ledger.succeed(spec.job_id, answer)

    def _publish(self, spec: JobSpec, created: Created, idempotency: Idempotency | None) -> None:
        try:
            self._publisher.publish(created.job_id, spec.membranes, spec.priority)
        except BrokerUnavailable:
            if idempotency is None:
                self._give_up(created.job_id)
            raise

    def _give_up(self, job_id: str) -> None:
        """End a job whose client is told that it was not accepted, if the broker still lets us."""
        try:
            self._ledger.fail(job_id, JobError(reason="its messages could not be published"))
        except BrokerUnavailable as error:
            log.warning("unpublished job left open", job_id=job_id, error=str(error))


def _fingerprint(request: JobRequest) -> str:
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()
