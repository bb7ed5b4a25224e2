"""Taking a job in: its record first, then its messages. What was answered with 202 is in the ledger."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from echo_api.callers import Caller
from echo_api.problems import RequestProblem
from echo_tasks import logs, tracing
from echo_tasks.access.grants import Bounds
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.ledger import Idempotency, Ledger
from echo_tasks.messages import Job, JobRequest, JobSpec, JobStatus
from echo_tasks.publishing import Publisher

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is in the ledger, and its status as far as its maker knows; None for a replay's."""

    job_id: str
    session_id: str
    status: JobStatus | None


class Intake:
    """Accepts jobs on one ledger."""

    def __init__(self, ledger: Ledger, publisher: Publisher, dispatcher: Dispatcher) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._dispatcher = dispatcher

    def submit(self, request: JobRequest, caller: Caller, key: str | None = None) -> Accepted:
        """Accept a job, or find the one that was made under the same idempotency key.

        It waits for its session's earlier jobs, if there are any. A replay publishes again where the first maker seems
        to have died before it could: tasks are idempotent. Raises BrokerUnavailable, and then the job is not accepted,
        IdempotencyConflict, SessionLimitReached, QuotaSpent, FarmFull, MembraneFull, and RequestProblem for a priority
        beyond the caller's.
        """
        session_id = request.session_id or caller.inner(f"s-{uuid.uuid4().hex}")
        ids = {"session_id": session_id, "job_id": uuid.uuid4().hex, "priority": _priority(request, caller.bounds)}
        spec = JobSpec(**(dict(request) | ids | {"trace": dict(tracing.current())}))
        idempotency = Idempotency(key, _fingerprint(request), caller.owner) if key else None
        names_session = request.session_id is not None
        created = self._ledger.create(spec, idempotency, names_session=names_session, account=caller.account)
        tracing.active().set({"echo.job_id": created.job_id, "echo.session_id": session_id})
        if not created.is_new:
            if not created.published:
                self._publisher.publish(created.job_id, spec.membranes, spec.priority)
            return Accepted(created.job_id, spec.session_id, None)
        try:
            is_answered = spec.job_id in self._dispatcher.advance(session_id)
            if idempotency is not None:
                self._ledger.mark_published(idempotency)
        except BrokerUnavailable:
            self._abandon(spec)
            raise
        return Accepted(spec.job_id, spec.session_id, JobStatus.SUCCEEDED if is_answered else JobStatus.QUEUED)

    def cancel(self, job_id: str) -> Job:
        """End a job by its client's wish, and let the next one of its session go. Raises JobNotFound."""
        job = self._ledger.cancel(job_id)
        self._dispatcher.settle(job, job.result, job.error)
        return job

    def settle(self, job_id: str) -> None:
        """See to those who waited for a job that has ended in another way. Raises JobNotFound."""
        job = self._ledger.read(job_id)
        self._dispatcher.settle(job, job.result, job.error)

    def _abandon(self, spec: JobSpec) -> None:
        """Take back a job whose client is told that it was not accepted, if the broker still lets us."""
        try:
            if self._ledger.abandon(spec):
                self._dispatcher.settle(spec, None)
        except BrokerUnavailable as error:
            log.warning("unpublished job left open", job_id=spec.job_id, error=str(error))


def _priority(request: JobRequest, bounds: Bounds) -> int:
    """The job's priority: as asked for, else its caller's own."""
    if "priority" not in request.model_fields_set:
        return min(bounds.priority, bounds.priority_most)
    if request.priority > bounds.priority_most:
        told = f"the highest priority that the key's jobs may have is {bounds.priority_most}"
        raise RequestProblem(403, told, field="priority")
    return request.priority


def _fingerprint(request: JobRequest) -> str:
    return hashlib.sha256(request.model_dump_json().encode()).hexdigest()
