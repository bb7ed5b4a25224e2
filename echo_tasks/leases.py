"""The steps' side of the ledger: who holds which step of a job, and what came of it.

A claim gives a lease on the step, and its token: the number of the delivery, which only grows. Whoever does not renew
a lease loses it, and what a holder writes afterwards is refused. Each method is one script of the broker's server; it
blocks for one round trip, and raises BrokerUnavailable.
"""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import redis

from echo_tasks import damage, keys, records, versions
from echo_tasks.connections import broker_faults
from echo_tasks.errors import LeaseLost
from echo_tasks.events import EVENTS_KEPT
from echo_tasks.liveness import Liveness
from echo_tasks.messages import JobSpec, Lease, Stamp, StepOutput
from echo_tasks.scripts import script


@dataclass(frozen=True, slots=True)
class Claim:
    """A step to run: the job, the outputs of its membranes so far, and how long ago the job was started.

    `held_until` and `deadline`, the end of the job's time, are moments of this process's `time.monotonic`.
    """

    lease: Lease
    spec: JobSpec
    outputs: Mapping[str, StepOutput]
    running_s: float
    held_until: float
    deadline: float = math.inf
    faults: int = 0
    """How often the step has failed in a way that may pass."""
    stamp: Stamp | None = None
    """What its answer is to be kept with; None: it is not to be kept."""
    waited_s: float | None = None
    """Since its message was published; None for a claim that is repeated since its answer was lost."""


@dataclass(frozen=True, slots=True)
class NothingToDo:
    """A delivery that needs no work: `reason`, and whether all membranes are in and integration may go.

    `version` is that of a record which only newer workers can read; the step waits for one of them.
    """

    reason: str
    membranes_done: bool = False
    version: int | None = None


class Recorded(NamedTuple):
    """What came of a membrane's output: `is_last` when all are in, and integration may go."""

    is_kept: bool
    is_last: bool


class StepLedger:
    """The steps of the jobs on one broker. Threads and greenlets may share it."""

    def __init__(self, client: redis.Redis, *, lease_s: float = Liveness().lease_s) -> None:
        """`lease_s`: how long a lease lasts unless it is renewed."""
        self._redis = client
        self.lease_s = lease_s
        self._claim = script(client, "claim")
        self._record = script(client, "record")
        self._renew = script(client, "renew")
        self._handback = script(client, "handback")
        self._charge = script(client, "charge")

    def claim(self, job_id: str, step: str, node: str = "") -> Claim | NothingToDo:
        """Take up a step: the job's first claim starts it. What has ended, is recorded or is held is not run again.

        Raises RecordDamaged.
        """
        asked_at = time.monotonic()
        with damage.told_of(job_id), broker_faults():
            state, *rest = self._claim(
                keys=[keys.job(job_id), keys.events(job_id), *keys.of_steps()],
                args=[
                    step,
                    job_id,
                    keys.WAKE_CHANNEL,
                    EVENTS_KEPT,
                    self.lease_s,
                    node,
                    uuid.uuid4().hex,
                    versions.LATEST,
                    versions.FIRST_PAUSE_S,
                    versions.LONGEST_PAUSE_S,
                ],
            )
        if state == "recorded":
            return NothingToDo("recorded", membranes_done=int(rest[0]) == 0)
        if state == "newer":
            return NothingToDo(state, version=int(rest[0]))
        if state != "run":
            return NothingToDo(state)
        at, published_at, *fields = rest
        record = dict(zip(fields[::2], fields[1::2], strict=True))
        with damage.told_of(job_id):
            return _claimed(job_id, step, float(at), published_at, record, asked_at + self.lease_s, asked_at)

    def record(self, lease: Lease, output: StepOutput) -> Recorded:
        """Keep a membrane's output. Raises LeaseLost.

        It is kept once: a holder who asks again, since the answer was lost, gets the same answer. For a job that has
        ended it is not kept.
        """
        with broker_faults():
            reply = self._record(
                keys=[keys.job(lease.job_id), keys.OPEN_JOBS, *keys.of_steps()],
                args=[lease.job_id, lease.step, lease.token, output.model_dump_json(), output.outcome],
            )
        if reply == "fenced":
            raise LeaseLost(lease.job_id, lease.step)
        return Recorded(is_kept=reply.isdecimal(), is_last=reply == "0")

    def renew(self, leases: Sequence[Lease]) -> set[Lease]:
        """Renew leases for `lease_s` from now; returns those that are lost, or whose jobs have ended."""
        flat = [part for lease in leases for part in (lease.job_id, lease.step, lease.token)]
        with broker_faults():
            replies = self._renew(keys=keys.of_steps(), args=[keys.job(""), self.lease_s, *flat])
        return {lease for lease, is_held in zip(leases, replies, strict=True) if not is_held}

    def hand_back(self, lease: Lease) -> bool:
        """Give up a step whose message goes back to its queue; false when the lease was lost."""
        return self._give_up(lease, "")

    def postpone(self, lease: Lease, delay_s: float) -> bool:
        """Give up a step that is to be tried again after a while; false when the lease was lost."""
        return self._give_up(lease, f"{delay_s:.3f}")

    def end_of(self, job_id: str, step: str) -> str | None:
        """How a step ended that ended with its job: `cancelled` or `failed`; for the first who asks, else None."""
        field = f"end:{step}"
        with broker_faults(), self._redis.pipeline() as pipe:
            pipe.hget(keys.job(job_id), field)
            pipe.hdel(keys.job(job_id), field)
            how: str | None = pipe.execute()[0]
        return how

    def charge(self, lease: Lease, tokens: int) -> None:
        """Charge the job's owner for a step that came to nothing, since the job has ended without it; once a step.

        For whoever lost the step to another, and for a job that was answered, it does nothing.
        """
        if tokens:
            with broker_faults():
                self._charge(keys=[keys.job(lease.job_id)], args=[lease.step, lease.token, tokens])

    def _give_up(self, lease: Lease, delay_s: str) -> bool:
        with broker_faults():
            return bool(
                self._handback(
                    keys=[keys.job(lease.job_id), *keys.of_steps()],
                    args=[lease.job_id, lease.step, lease.token, delay_s],
                )
            )


def _claimed(
    job_id: str, step: str, at: float, published_at: str, record: Mapping[str, str], held_until: float, asked_at: float
) -> Claim:
    left_s = float(record["deadline"]) - at if "deadline" in record else math.inf
    return Claim(
        lease=Lease(job_id, step, int(record[f"deliveries:{step}"])),
        spec=records.whole_spec(record),
        outputs=records.outputs(record),
        running_s=at - float(record["started_at"]),
        held_until=held_until,
        deadline=asked_at + left_s,
        faults=int(record.get(f"faults:{step}", 0)),
        stamp=records.stamp(record),
        waited_s=max(0.0, at - float(published_at)) if published_at else None,
    )
