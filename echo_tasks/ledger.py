"""The job ledger: the truth about every job. Celery's messages are only how a job travels.

Each change of a job is one Lua script, run by the broker's server as one step, so two workers (or one
message delivered twice) cannot both win. Every method blocks for one round trip and raises
BrokerUnavailable when the broker cannot be reached or has no room.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import redis

from echo_tasks import keys
from echo_tasks.answers import Flight
from echo_tasks.backlog import BacklogBounds
from echo_tasks.connections import broker_faults
from echo_tasks.errors import IdempotencyConflict, JobNotFound, SessionLimitReached
from echo_tasks.events import EVENTS_KEPT
from echo_tasks.memories import MEMORIES_KEPT, written
from echo_tasks.messages import Job, JobError, JobResult, JobSpec, JobStatus, Past, Stamp, StepOutput, Turn
from echo_tasks.scripts import script
from echo_tasks.sessions import SessionBounds

PUBLISHING_S = 5
"""How long a job's messages may be on their way before a replay takes its maker for dead and sends them."""


_NO_TURN = ("", "")
"""What `lua/finish.lua` takes for a job that leaves its session no turn."""


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A client's key for a request, and the fingerprint of the request's body."""

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Created:
    """Where a request's job is: `is_new` tells whether this call made it.

    `published` is false for a new job, and for one whose messages may never have left the process that made it.
    """

    job_id: str
    is_new: bool
    published: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A step to run: the job, the outputs of its membranes so far, and how long ago the job was started."""

    spec: JobSpec
    outputs: Mapping[str, StepOutput]
    running_s: float
    stamp: Stamp | None = None
    """What its answer is to be kept with; None: it is not to be kept."""


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """A delivery that needs no work: `reason`, and whether all membranes are in and integration may go."""

    reason: str
    membranes_done: bool = False


class Ledger:
    """The records of the jobs on one broker. Threads and greenlets may share it."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        retention_s: int,
        session_s: int,
        bounds: SessionBounds | None = None,
        backlog: BacklogBounds | None = None,
    ) -> None:
        self._redis = client
        self._retention_s = retention_s
        self._session_s = session_s
        self._bounds = bounds or SessionBounds()
        self._backlog = backlog or BacklogBounds()
        self._create = script(client, "create")
        self._abandon = script(client, "abandon")
        self._claim = script(client, "claim")
        self._record = script(client, "record")
        self._finish = script(client, "finish")
        self._recall = script(client, "recall")
        self._release = script(client, "release")
        self._lead = script(client, "lead")
        self._followers = script(client, "followers")

    def create(self, spec: JobSpec, idempotency: Idempotency | None = None, *, names_session: bool = True) -> Created:
        """Write a new job with status `queued` at the end of its session's line, or find that made under the same key.

        `names_session`: its client has named the session, which counts as live from now on. Raises IdempotencyConflict
        when the key belongs to a job with another fingerprint, SessionLimitReached, FarmFull, and MembraneFull.
        """
        key, fingerprint = (idempotency.key, idempotency.fingerprint) if idempotency else ("", "")
        with broker_faults():
            reply = self._create(
                keys=[
                    keys.job(spec.job_id),
                    keys.OPEN_JOBS,
                    keys.events(spec.job_id),
                    keys.idempotency(key),
                    *keys.of_session(spec.session_id),
                ],
                args=[
                    spec.job_id,
                    spec.model_dump_json(exclude={"past"}),
                    len(spec.membranes),
                    key,
                    fingerprint,
                    PUBLISHING_S,
                    EVENTS_KEPT,
                    spec.session_id,
                    "1" if names_session else "",
                    self._bounds.live,
                    self._session_s,
                    ",".join(spec.membranes),
                    self._backlog.jobs,
                    self._backlog.per_membrane,
                ],
            )
        if reply[0] == "created":
            return Created(spec.job_id, is_new=True, published=False)
        if refusal := self._backlog.refusal(reply):
            raise refusal
        if reply[0] == "full":
            raise SessionLimitReached(self._bounds.live, int(reply[1]))
        _, job_id, known_fingerprint, published = reply
        if known_fingerprint != fingerprint:
            raise IdempotencyConflict(key, job_id)
        return Created(job_id, is_new=False, published=published == "1")

    def release(self, session_id: str) -> JobSpec | None:
        """Let the session's next job go, if the one before has ended: it now knows its past, and is to be published.

        Jobs of one session run one at a time, in the order in which they were accepted. A job that was let go without
        its messages ever being taken is let go again.
        """
        with broker_faults():
            reply = self._release(
                keys=keys.of_session(session_id), args=[keys.job(""), PUBLISHING_S, session_id, self._session_s]
            )
        return _spec(*reply) if reply else None

    def lead(self, turn: JobSpec, flight: Flight) -> str:
        """Have the job be the one that equal ones wait for, or wait for one that is; the other's id, or nothing."""
        names = [keys.job(turn.job_id), keys.flight(flight.id), keys.followers(turn.job_id)]
        stamp = json.dumps(flight.stamp)
        with broker_faults():
            reply: str = self._lead(
                keys=names,
                args=[turn.job_id, keys.job(""), keys.FOLLOWERS, turn.priority, stamp, self._retention_s],
            )
        return reply

    def followers(self, job_id: str) -> list[JobSpec]:
        """The open jobs that wait for this one's answer."""
        with broker_faults():
            flat = self._followers(keys=[keys.followers(job_id)], args=[keys.job("")])
        return [_spec(*flat[at : at + 5]) for at in range(0, len(flat), 5)]

    def disband(self, job_id: str) -> None:
        """Nobody waits for the job any more."""
        with broker_faults():
            self._redis.delete(keys.followers(job_id))

    def mark_published(self, idempotency: Idempotency) -> None:
        """Note that the key's job needs no more messages: a replay only finds it."""
        with broker_faults():
            self._redis.hset(keys.idempotency(idempotency.key), "published", "1")

    def abandon(self, spec: JobSpec) -> bool:
        """Forget a job whose client is told that it was not accepted; false when it has started already."""
        record = [keys.job(spec.job_id), keys.OPEN_JOBS, keys.events(spec.job_id), *keys.of_session(spec.session_id)]
        with broker_faults():
            return bool(self._abandon(keys=record, args=[spec.job_id, spec.session_id, self._session_s]))

    def claim(self, job_id: str, step: str) -> Claim | NothingToDo:
        """Take up a step: the job's first claim starts it. What has ended or is recorded is not run again."""
        with broker_faults():
            state, *rest = self._claim(
                keys=[keys.job(job_id), keys.events(job_id)],
                args=[step, job_id, keys.WAKE_CHANNEL, EVENTS_KEPT],
            )
        if state == "recorded":
            return NothingToDo("recorded", membranes_done=int(rest[0]) == 0)
        if state != "run":
            return NothingToDo(state)
        at, *fields = rest
        record = dict(zip(fields[::2], fields[1::2], strict=True))
        return Claim(
            spec=_spec(record["spec"], *(record.get(f"past_{name}") for name in Past.model_fields)),
            outputs={
                name: StepOutput.model_validate_json(record[field])
                for name in keys.MEMBRANES
                if (field := f"output:{name}") in record
            },
            running_s=float(at) - float(record["started_at"]),
            stamp=_stamp(record["stamp"]) if "stamp" in record else None,
        )

    def record(self, job_id: str, membrane: str, output: StepOutput) -> bool:
        """Keep a membrane's output; true when all are in, and integration may go.

        The first writer wins: a second output of the same membrane is dropped, and answers as the first did,
        since a caller may ask again whose answer was lost. For a job that has ended it answers false.
        """
        with broker_faults():
            reply = self._record(
                keys=[keys.job(job_id), keys.OPEN_JOBS], args=[membrane, output.model_dump_json(), job_id]
            )
        return bool(reply == "0")

    def succeed(self, spec: JobSpec, result: JobResult) -> bool:
        """End the job with its answer, which becomes its session's latest turn; false when it had ended.

        What the answer told and used of memories is noted with it. Raises JobNotFound.
        """
        turn = _turn(spec, result, self._bounds)
        return self._end(spec, JobStatus.SUCCEEDED, "result", result.model_dump_json(), turn) is None

    def fail(self, spec: JobSpec, error: JobError) -> bool:
        """End the job without an answer; false when it had ended. Raises JobNotFound."""
        return self._end(spec, JobStatus.FAILED, "error", error.model_dump_json()) is None

    def cancel(self, job_id: str) -> Job:
        """End the job by its client's wish, unless it had ended; returns it as it ended. Raises JobNotFound."""
        job = self.read(job_id)
        self._end(job, JobStatus.CANCELLED, "status", '{"status":"cancelled"}')
        return self.read(job_id)

    def read(self, job_id: str) -> Job:
        """The job as clients see it. Raises JobNotFound."""
        with broker_faults():
            record = self._redis.hgetall(keys.job(job_id))
        if not record:
            raise JobNotFound(job_id)
        spec = json.loads(record["spec"])
        return Job(
            job_id=job_id,
            session_id=spec["session_id"],
            status=JobStatus(record["status"]),
            priority=spec["priority"],
            created_at=float(record["created_at"]),
            started_at=_seconds(record.get("started_at")),
            finished_at=_seconds(record.get("finished_at")),
            attempts=max((int(n) for f, n in record.items() if f.startswith("deliveries:")), default=0),
            result=JobResult.model_validate_json(record["result"]) if "result" in record else None,
            error=JobError.model_validate_json(record["error"]) if "error" in record else None,
        )

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

    def _end(
        self, job: JobSpec | Job, status: JobStatus, event: str, data: str, turn: Sequence[str | int] = _NO_TURN
    ) -> JobStatus | None:
        """The status in which it had ended before, if it had."""
        field, value = ("", "") if event == "status" else (event, data)
        with broker_faults():
            reply = self._finish(
                keys=[
                    keys.job(job.job_id),
                    keys.OPEN_JOBS,
                    keys.events(job.job_id),
                    *keys.of_session(job.session_id),
                    keys.MEMORY_COUNTS,
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
                    *turn,
                ],
            )
        if not reply:
            raise JobNotFound(job.job_id)
        return None if reply[0] == "1" else JobStatus(reply[1])


def _spec(text: str, turns: str | None, gone: str | None, digest: str | None, memories: str | None) -> JobSpec:
    """A job's spec, which is fixed when it is accepted, with its past, which is when it is let go."""
    past = Past(turns=int(turns or 0), gone=int(gone or 0), digest=digest or "", memories=memories or "")
    return JobSpec.model_validate_json(text).model_copy(update={"past": past})


def _turn(spec: JobSpec, result: JobResult, bounds: SessionBounds) -> list[str | int]:
    """The turn that an answer makes, as `lua/finish.lua` takes it: from a cached one's mark to the new memories."""
    turn = Turn(user=spec.input_text, assistant=result.response_text, tokens=result.turn_tokens)
    return [
        "1" if result.cache_hit else "",
        json.dumps(turn.model_dump() | {"job_id": spec.job_id}, ensure_ascii=False),
        turn.model_dump_json(include={"user", "assistant"}),
        turn.tokens,
        bounds.turns,
        bounds.tokens,
        MEMORIES_KEPT,
        len(result.memories_used),
        *result.memories_used,
        *(written(draft, spec.job_id, spec.tags) for draft in result.memories_made),
    ]


def _stamp(text: str) -> Stamp:
    return tuple((tag, version) for tag, version in json.loads(text))


def _seconds(text: str | None) -> float | None:
    return None if text is None else float(text)
