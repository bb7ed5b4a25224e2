"""How a job that may go gets its answer: one that is known, that of an equal job under way, or one of its own."""

from __future__ import annotations

from echo_tasks import logs, tracing
from echo_tasks.answers import Answers
from echo_tasks.errors import JobNotFound, RecordDamaged
from echo_tasks.ledger import Ledger
from echo_tasks.messages import Job, JobError, JobResult, JobSpec
from echo_tasks.publishing import Publisher
from echo_tasks.telemetry.jobs import JOBS_DISTRIBUTED

log = logs.get(__name__)


class Dispatcher:
    """Lets the jobs of sessions go, one at a time, and passes answers on. `answers` is None where none are cached.

    Whoever has accepted or ended a job calls it, as often as he likes. Every method raises BrokerUnavailable.
    """

    def __init__(self, ledger: Ledger, publisher: Publisher, answers: Answers | None) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._answers = answers

    def advance(self, session_id: str) -> set[str]:
        """Let go whom the session's line lets go; returns the jobs that were answered on the spot."""
        answered = set()
        while (turn := self._ledger.release(session_id)) and self._answer_at_once(turn):
            answered.add(turn.job_id)
        return answered

    def settle(self, job: JobSpec | Job, result: JobResult | None, error: JobError | None = None) -> None:
        """A job has ended: pass its answer on to those that wait for it, and let its session's next job go."""
        self._pass_on(job.job_id, result, error)
        self.advance(job.session_id)

    def give_up(self, damaged: RecordDamaged) -> None:
        """A job's record cannot be read: end the job, and see to those who wait for it."""
        session_id = self._ledger.condemn(damaged.job_id)
        self._pass_on(damaged.job_id, None)
        if session_id:
            self.advance(session_id)

    def take_up(self, job_id: str, leader_id: str) -> None:
        """Give a job that waits for an equal one which is not under way any more its answer, or have it run."""
        try:
            leader: Job | None = self._ledger.read(leader_id)
        except JobNotFound:
            leader = None
        self._answer_as(self._ledger.spec(job_id), leader.result if leader else None, leader.error if leader else None)

    def _pass_on(self, job_id: str, result: JobResult | None, error: JobError | None = None) -> None:
        followers = self._ledger.flights.followers(job_id)
        for follower in followers:
            self._answer_as(follower, result, error)
        if followers:
            self._ledger.flights.disband(job_id)

    def _answer_as(self, follower: JobSpec, result: JobResult | None, error: JobError | None) -> None:
        if self._end_as(follower, result, error) or self._answer_at_once(follower, waited=True):
            self.advance(follower.session_id)

    def _end_as(self, follower: JobSpec, result: JobResult | None, error: JobError | None) -> bool:
        """End a job as the one that it waited for, if that is an end for all equal jobs."""
        if result is None and (error is None or not error.rejected):
            return False
        with tracing.span("end as an equal job", of=follower.trace, attributes={"echo.job_id": follower.job_id}):
            if result is not None:
                shared = result.for_another(follower.session_id, tier="collapsed", elapsed_ms=0.0)
                self._ledger.succeed(follower, shared)
            elif error is not None:
                self._ledger.fail(follower, error)
        return True

    def _answer_at_once(self, turn: JobSpec, *, waited: bool = False) -> bool:
        """Give a job that may go its answer, if that is known; else have it wait for an equal one, or run."""
        flight = self._answers.flight(turn) if self._answers else None
        if self._answers is not None and flight is not None:
            if self._ledger.flights.lead(turn, flight):
                log.info("job waits for an equal one", job_id=turn.job_id)
                return False
            if answer := self._answers.known(turn, flight.key):
                self._ledger.succeed(turn, answer)
                self._pass_on(turn.job_id, answer)  # to those who came while it was looked up
                return True
        elif waited:
            self._ledger.flights.go_alone(turn.job_id)
        self._publisher.publish(turn.job_id, turn.membranes, turn.priority, turn.session_id, trace=turn.trace)
        JOBS_DISTRIBUTED.inc()
        return False
