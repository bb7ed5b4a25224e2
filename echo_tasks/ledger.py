"""The job ledger: the truth about every job. Celery's messages are only how a job travels.

Each change of a job is one Lua script, run by the broker's server as one step, so two workers (or one
message delivered twice) cannot both win. Every method blocks for one round trip and raises
BrokerUnavailable when the broker cannot be reached or has no room.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import redis

from echo_tasks import damage, keys, records, versions
from echo_tasks.access.quotas import NOBODY, Account
from echo_tasks.backlog import BacklogBounds
from echo_tasks.connections import broker_faults
from echo_tasks.damage import Damages
from echo_tasks.errors import IdempotencyConflict, JobNotFound, LeaseLost, SessionLimitReached
from echo_tasks.events import EVENTS_KEPT
from echo_tasks.flights import FlightLedger
from echo_tasks.leases import StepLedger
from echo_tasks.liveness import Liveness
from echo_tasks.messages import DeadLetter, Job, JobError, JobResult, JobSpec, JobStatus, Lease, Turn
from echo_tasks.scripts import script
from echo_tasks.sessions import SessionBounds
from echo_tasks.telemetry.jobs import JOB_SECONDS
from echo_tasks.tracing import NO_TRACE, Trace
from echo_tasks.turns import NO_TURN, turn_made_by

PUBLISHING_S = 5
"""How long a job's messages may be on their way before whoever sends them is taken for dead."""

DEAD_LETTERS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key for a request, and the fingerprint of the request's body; `owner` is whose key it is."""

    key: str
    fingerprint: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Created:
    """Where a request's job is: `is_new` tells whether this call made it.

    `published` is false for a new job, and for one whose messages may never have left the process that made it.
    """

    job_id: str
    is_new: bool
    published: bool


class Ledger:
    """The records of the jobs on one broker; `steps` and `flights` are its other sides.

    Threads and greenlets may share it.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        retention_s: int,
        session_s: int,
        bounds: SessionBounds | None = None,
        backlog: BacklogBounds | None = None,
        lease_s: float = Liveness().lease_s,
    ) -> None:
        self._redis = client
        self._retention_s = retention_s
        self._session_s = session_s
        self._bounds = bounds or SessionBounds()
        self.steps = StepLedger(client, lease_s=lease_s)
        self.flights = FlightLedger(client, retention_s=retention_s)
        self._backlog = backlog or BacklogBounds()
        self._damages = Damages(client, retention_s=retention_s, publishing_s=PUBLISHING_S)
        self._create = script(client, "create")
        self._abandon = script(client, "abandon")
        self._finish = script(client, "finish")
        self._recall = script(client, "recall")
        self._release = script(client, "release")

    def create(
        self,
        spec: JobSpec,
        idempotency: Idempotency | None = None,
        *,
        names_session: bool = True,
        account: Account = NOBODY,
    ) -> Created:
        """Write a new job with status `queued` at the end of its session's line, or find that made under the same key.

        `names_session`: its client has named the session, which counts as live from now on. Raises IdempotencyConflict
        when the key belongs to a job with another fingerprint, SessionLimitReached, QuotaSpent, FarmFull, MembraneFull.
        """
        asked = idempotency or Idempotency("", "")
        with broker_faults():
            reply = self._create(
                keys=[
                    keys.job(spec.job_id),
                    keys.OPEN_JOBS,
                    keys.events(spec.job_id),
                    keys.idempotency(asked.key, asked.owner),
                    *keys.of_session(spec.session_id),
                    *keys.of_steps(),
                    keys.spent(account.owner),
                ],
                args=[
                    spec.job_id,
                    spec.model_dump_json(exclude={"past"}),
                    len(spec.membranes),
                    asked.key,
                    asked.fingerprint,
                    PUBLISHING_S,
                    EVENTS_KEPT,
                    spec.session_id,
                    "1" if names_session else "",
                    self._bounds.live,
                    self._session_s,
                    ",".join(spec.membranes),
                    self._backlog.jobs,
                    self._backlog.per_membrane,
                    spec.priority,
                    "" if spec.timeout_s is None else spec.timeout_s,
                    *account.as_args(),
                    versions.needed(spec),
                ],
            )
        if reply[0] == "created":
            return Created(spec.job_id, is_new=True, published=False)
        if refusal := self._backlog.refusal(reply) or account.refusal(reply):
            raise refusal
        if reply[0] == "full":
            raise SessionLimitReached(self._bounds.live, int(reply[1]))
        _, job_id, known_fingerprint, published = reply
        if known_fingerprint != asked.fingerprint:
            raise IdempotencyConflict(asked.key, job_id)
        return Created(job_id, is_new=False, published=published == "1")

    def release(self, session_id: str) -> JobSpec | None:
        """Let the session's next job go, if the one before has ended: it now knows its past, and is to be published.

        Jobs of one session run one at a time, in the order in which they were accepted. Each is let go once; should its
        messages never be sent, the reaper sends them. One that only newer processes can read is theirs to let go.
        """
        with broker_faults():
            reply = self._release(
                keys=[*keys.of_session(session_id), *keys.of_steps()],
                args=[keys.job(""), session_id, self._session_s, versions.LATEST],
            )
        return records.readable_spec(reply) if reply else None

    def mark_published(self, idempotency: Idempotency) -> None:
        """Note that the key's job needs no more messages: a replay only finds it."""
        with broker_faults():
            self._redis.hset(keys.idempotency(idempotency.key, idempotency.owner), "published", "1")

    def abandon(self, spec: JobSpec) -> bool:
        """Forget a job whose client is told that it was not accepted; false when it has started already."""
        record = [keys.job(spec.job_id), keys.OPEN_JOBS, keys.events(spec.job_id), *keys.of_session(spec.session_id)]
        args = [spec.job_id, spec.session_id, self._session_s, PUBLISHING_S]
        with broker_faults():
            return bool(self._abandon(keys=[*record, *keys.of_steps()], args=args))

    def succeed(self, spec: JobSpec, result: JobResult, lease: Lease | None = None) -> bool:
        """End the job with its answer, which becomes its session's latest turn; false when it had ended.

        What the answer told and used of memories is noted with it. A worker shows its lease; raises LeaseLost when
        another one has taken its step over, and JobNotFound.
        """
        turn = turn_made_by(spec, result, self._bounds)
        return self._end(spec, JobStatus.SUCCEEDED, "result", result.model_dump_json(), lease, turn=turn)

    def fail(
        self, spec: JobSpec, error: JobError, lease: Lease | None = None, letter: DeadLetter | None = None
    ) -> bool:
        """End the job without an answer, perhaps with a dead letter; false when it had ended.

        Raises LeaseLost and JobNotFound.
        """
        return self._end(spec, JobStatus.FAILED, "error", error.model_dump_json(), lease, letter=letter)

    def cancel(self, job_id: str) -> Job:
        """End the job by its client's wish, unless it had ended; returns it as it ended. Raises JobNotFound."""
        job = self.read(job_id)
        self._end(job, JobStatus.CANCELLED, "status", '{"status":"cancelled"}')
        return self.read(job_id)

    def condemn(self, job_id: str) -> str:
        """End a job whose record cannot be read, once; the session whose next job may go, or ''."""
        return self._damages.condemn(job_id)

    def read(self, job_id: str) -> Job:
        """The job as clients see it. Raises JobNotFound, RecordDamaged."""
        with damage.told_of(job_id):
            return records.job(job_id, self._whole(job_id))

    def spec(self, job_id: str) -> JobSpec:
        """The job as it was asked for, with what it knows of its session.

        Raises JobNotFound, RecordTooNew and RecordDamaged.
        """
        with damage.told_of(job_id):
            return records.whole_spec(self._whole(job_id))

    def trace(self, job_id: str) -> Trace:
        """The trace that a job belongs to; none for one that is gone."""
        with damage.told_of(job_id), broker_faults():
            text = self._redis.hget(keys.job(job_id), "spec")
            return json.loads(text).get("trace", NO_TRACE) if text else NO_TRACE

    def open_jobs(self) -> int:
        """How many jobs have been accepted and have not ended."""
        with broker_faults():
            return int(self._redis.zcard(keys.OPEN_JOBS))

    def turns(self, spec: JobSpec) -> list[Turn]:
        """The turns of its session that a job knows, oldest first, as far as they are kept."""
        if spec.past.turns == spec.past.gone:
            return []
        session = [keys.session(spec.session_id), keys.turns(spec.session_id)]
        with broker_faults():
            return [Turn.model_validate_json(turn) for turn in self._recall(keys=session, args=[spec.past.turns])]

    def _whole(self, job_id: str) -> dict[str, str]:
        with broker_faults():
            record: dict[str, str] = self._redis.hgetall(keys.job(job_id))
        if not record:
            raise JobNotFound(job_id)
        return record

    def _end(
        self,
        job: JobSpec | Job,
        status: JobStatus,
        event: str,
        data: str,
        lease: Lease | None = None,
        *,
        letter: DeadLetter | None = None,
        turn: Sequence[str | int] = NO_TURN,
    ) -> bool:
        """Whether this call has ended it."""
        field, value = ("", "") if event == "status" else (event, data)
        with broker_faults():
            reply = self._finish(
                keys=[
                    keys.job(job.job_id),
                    keys.OPEN_JOBS,
                    keys.events(job.job_id),
                    *keys.of_session(job.session_id),
                    keys.MEMORY_COUNTS,
                    *keys.of_steps(),
                    keys.DEAD_LETTERS,
                    keys.LETTERS,
                ],
                args=[
                    job.job_id,
                    status.value,
                    field,
                    value,
                    event,
                    data,
                    keys.WAKE_CHANNEL,
                    EVENTS_KEPT,
                    self._retention_s,
                    job.session_id,
                    self._session_s,
                    lease.step if lease else "",
                    lease.token if lease else "",
                    letter.model_dump_json(exclude={"owner"}) if letter else "",
                    DEAD_LETTERS_KEPT,
                    PUBLISHING_S,
                    *turn,
                ],
            )
        if not reply:
            raise JobNotFound(job.job_id)
        if lease is not None and reply[0] == "fenced":
            raise LeaseLost(lease.job_id, lease.step)
        if reply[0] != "1":
            return False
        JOB_SECONDS.labels(status.value).observe(float(reply[2]))
        return True
