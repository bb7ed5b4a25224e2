"""The reaper: sees to it that every job that was accepted ends, whoever dies.

Every worker has one; one at a time reaps, the others stand by. A round looks at a bounded number of things, and every
change it makes is checked again by the script that makes it: two reapers at once do no harm.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import ResponseError

from echo_tasks import damage, keys, logs, recovery, tracing, versions
from echo_tasks.connections import broker_faults
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import JobNotFound, RecordDamaged, RecordTooNew
from echo_tasks.flights import FOLLOW_S
from echo_tasks.ledger import PUBLISHING_S, Ledger
from echo_tasks.liveness import Liveness
from echo_tasks.messages import DeadLetter, JobError, JobStatus
from echo_tasks.publishing import Publisher
from echo_tasks.scripts import script
from echo_tasks.survey import LANE_KEYS, LANE_NAMES, Direct, Lane, Survey, Suspect, Undispatched
from echo_tasks.telemetry.reaping import JOBS_GIVEN_UP, STEPS_REQUEUED
from echo_tasks.tracing import NO_TRACE

QUEUES_KNOWN_S = 7200
"""How long after its last use a worker's own queue is looked at: what a dead worker held comes back to it by then."""

LEFT_S = 60
"""How long a job that only newer processes can read is left to them, before this one looks at it again."""

MOST = 128
"""Things of each kind that a round sees to."""

log = logs.get(__name__)


class Reaper:
    """Reaps on one broker when it is its turn. For one thread; every method raises BrokerUnavailable."""

    def __init__(
        self,
        client: redis.Redis,
        ledger: Ledger,
        publisher: Publisher,
        dispatcher: Dispatcher,
        *,
        max_deliveries: int,
        liveness: Liveness | None = None,
        grace_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`grace_s`: how long it must have reached the broker before it judges leases; None: a lease's time."""
        self._redis = client
        self._ledger = ledger
        self._publisher = publisher
        self._dispatcher = dispatcher
        self._max_deliveries = max_deliveries
        self.liveness = liveness or Liveness()
        self._grace_s = self.liveness.lease_s if grace_s is None else grace_s
        self._clock = clock
        self._name = uuid.uuid4().hex
        self._missing: set[Suspect] = set()
        self._in_touch_since = self._last_at = self._reaps_from = clock()
        self._survey = script(client, "survey")
        self._requeue = script(client, "requeue")
        self._takeback = script(client, "takeback")

    def round(self) -> bool:
        """See to what there is, if nobody else reaps; whether this one does.

        What only newer processes can read it leaves alone, and stands back for a while, so that one of them can reap.
        """
        survey = self._look() if self._clock() >= self._reaps_from else None
        if survey is None:
            return False
        self._found_newer = False
        if recovery.is_settled(self._clock(), in_touch_since=self._in_touch_since, grace_s=self._grace_s):
            self._revive(survey.expired, survey.now)
        self._revive(survey.due, survey.now)
        self._revive(self._lost(survey), survey.now)
        for direct in survey.directs:
            self._take_back(direct)
        for job_id in survey.overdue:
            with self._damage_ended():
                self._end_overdue(job_id, survey.now)
        for job in survey.undispatched:
            with self._damage_ended():
                self._dispatch(job, survey.now)
        if self._found_newer:
            self.stop()
            self._reaps_from = self._clock() + self.liveness.reign_s
        return True

    def stop(self) -> None:
        """Let another one reap at once."""
        with broker_faults():
            if self._redis.get(keys.REAPER) == self._name:
                self._redis.delete(keys.REAPER)

    def _look(self) -> Survey | None:
        """What there is to see to; None when another one reaps."""
        began = self._clock()
        if began - self._last_at > self.liveness.reign_s:  # this process, or the broker, was away
            self._in_touch_since = began
        with broker_faults():
            reply = self._survey(
                keys=[keys.REAPER, keys.SESSIONS, keys.DIRECTS, *keys.of_steps(), *LANE_KEYS],
                args=[
                    self._name,
                    round(1000 * self.liveness.reign_s),
                    keys.job(""),
                    MOST,
                    keys.worker(""),
                    keys.drain(""),
                    self.liveness.direct_s,
                    QUEUES_KNOWN_S,
                    *LANE_NAMES,
                ],
            )
        self._last_at = self._clock()
        return Survey.of(reply) if reply else None

    def _lost(self, survey: Survey) -> list[Suspect]:
        """Steps whose messages have vanished: for two rounds, lest one is that a worker has just taken."""
        horizons = [(lane.name, _horizon(lane, survey.now)) for lane in survey.lanes]
        with broker_faults(), self._redis.pipeline(transaction=False) as pipe:
            for name, horizon in horizons:
                pipe.zrangebyscore(keys.PUBLISHED + name, "-inf", f"({horizon:.6f}", start=0, num=MOST)
            found = pipe.execute() if horizons else []
        missing = {
            Suspect(job_id, step, lane=name)
            for (name, _), members in zip(horizons, found, strict=True)
            for job_id, _, step in (member.rpartition(".") for member in members)
        }
        seen_before, self._missing = self._missing, missing
        return sorted(missing & seen_before)

    def _revive(self, suspects: Sequence[Suspect], now: float) -> None:
        """Have steps published again, first in line, or give their jobs up."""
        if not suspects:
            return
        for suspect, (verdict, *counts) in zip(suspects, self._requeued(suspects), strict=True):
            if verdict == "publish":
                with self._damage_ended():
                    self._publish_or_bury(suspect, now, *counts)

    def _requeued(self, suspects: Sequence[Suspect]) -> Sequence[Sequence[Any]]:
        """The verdict on each; of one by one, where a record among theirs is damaged."""
        flat: Iterable[str] = (part for suspect in suspects for part in suspect)
        args = [keys.job(""), keys.HIGHEST, self._max_deliveries, *flat]
        try:
            with broker_faults():
                return self._requeue(keys=keys.of_steps(), args=args)  # type: ignore[no-any-return]
        except ResponseError as error:
            if not damage.is_told_by(error):
                raise
            if len(suspects) > 1:
                return [verdict for suspect in suspects for verdict in self._requeued([suspect])]
            self._dispatcher.give_up(RecordDamaged(suspects[0].job_id))
            return [["over"]]

    @contextmanager
    def _damage_ended(self) -> Iterator[None]:
        """Have a job end whose record cannot be read, and go on with the others."""
        try:
            yield
        except RecordDamaged as damaged:
            self._dispatcher.give_up(damaged)

    def _take_back(self, direct: Direct) -> None:
        """Have what waits for one worker be for all, as it was published, but behind the others of its priority."""
        flat = (part for step in direct.steps for part in step)
        with broker_faults():
            priorities = self._takeback(keys=keys.of_steps(), args=[keys.job(""), direct.node, direct.is_gone, *flat])
        for (job_id, step), priority in zip(direct.steps, priorities, strict=True):
            if priority:
                log.info("step is for all workers", job_id=job_id, step=step, node=direct.node)
                self._publish_again(job_id, step, int(priority), "direct")

    def _publish_or_bury(self, suspect: Suspect, now: float, deaths: int, losses: int) -> None:
        job_id, step = suspect.job_id, suspect.step
        why = recovery.why_given_up(step, deaths=deaths, losses=losses, max_deliveries=self._max_deliveries)
        if why is not None:
            return self._bury(job_id, step, why, now)
        cause = "lease" if suspect.token else "message" if suspect.lane else "due"
        log.info("step published again", job_id=job_id, step=step, cause=cause, deaths=deaths, losses=losses)
        self._publish_again(job_id, step, keys.HIGHEST, cause)

    def _publish_again(self, job_id: str, step: str, priority: int, cause: str) -> None:
        STEPS_REQUEUED.labels(cause).inc()
        trace = self._ledger.trace(job_id) if tracing.is_on() else NO_TRACE
        with tracing.span("publish again", of=trace, attributes={"echo.cause": cause}):
            self._publisher.publish(job_id, [step], priority)

    def _bury(self, job_id: str, step: str, why: str, now: float) -> None:
        """End a job that cannot be done, and put it on the dead-letter list."""
        with broker_faults():
            deliveries, node = self._redis.hmget(keys.job(job_id), f"deliveries:{step}", f"node:{step}")
        try:
            spec = self._ledger.spec(job_id)
            letter = DeadLetter(
                spec=spec,
                reason=why,
                step=step,
                deliveries=int(deliveries or 0),
                node=node or "",
                at=now,
                version=versions.needed(spec),
            )
            if self._ledger.fail(spec, JobError(reason=why), letter=letter):
                JOBS_GIVEN_UP.inc()
                log.error("job given up", job_id=job_id, step=step, reason=why, node=letter.node)
            self._settle(job_id)
        except JobNotFound:
            log.warning("job is gone", job_id=job_id)
        except RecordTooNew as error:
            self._leave(job_id, error)

    def _end_overdue(self, job_id: str, now: float) -> None:
        try:
            spec = self._ledger.spec(job_id)
            self._ledger.fail(spec, recovery.overdue(spec.timeout_s))
            self._settle(job_id)
        except JobNotFound:
            with broker_faults():
                self._redis.zrem(keys.DEADLINES, job_id)
        except RecordTooNew as error:
            with broker_faults():
                self._redis.zadd(keys.DEADLINES, {job_id: now + LEFT_S}, xx=True)
            self._leave(job_id, error)

    def _settle(self, job_id: str) -> None:
        job = self._ledger.read(job_id)
        self._dispatcher.settle(job, job.result, job.error)

    def _dispatch(self, job: Undispatched, now: float) -> None:
        """Let a job go that nobody has, or see whether the one that it waits for is still under way."""
        member = f"{job.job_id}.{keys.DISPATCH}"
        is_open = job.status != "" and not JobStatus(job.status).ended
        if not is_open or (job.is_let_go and not job.leader_id):
            with broker_faults():
                self._redis.zrem(keys.DELAYED, member)
            return
        with broker_faults():  # first: whatever sees to it takes it away
            self._redis.zadd(keys.DELAYED, {member: now + (FOLLOW_S if job.is_let_go else PUBLISHING_S)}, xx=True)
        try:
            versions.check(job.version)
            if not job.is_let_go:
                log.info("job dispatched again", job_id=job.job_id)
                self._dispatcher.advance(self._ledger.read(job.job_id).session_id)
            elif not job.leader_status or JobStatus(job.leader_status).ended:
                log.info("job takes over from an equal one", job_id=job.job_id, leader_id=job.leader_id)
                self._dispatcher.take_up(job.job_id, job.leader_id)
        except JobNotFound:
            log.warning("job is gone", job_id=job.job_id)
        except RecordTooNew as error:
            self._leave(job.job_id, error)

    def _leave(self, job_id: str, error: RecordTooNew) -> None:
        self._found_newer = True
        log.info("job is left to a newer reaper", job_id=job_id, error=str(error))


def _horizon(lane: Lane, now: float) -> float:
    return recovery.lost_before(
        now, waiting=lane.waiting, latest_claimed=float(lane.latest_claimed), publishing_s=PUBLISHING_S
    )
