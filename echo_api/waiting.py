"""Waiting for a job's end, no longer than a client wishes."""

from __future__ import annotations

import time

from echo_api.farm import Farm
from echo_api.permits import Permit
from echo_tasks.messages import Job

_RECHECK_S = 5.0
"""How often a waiting request looks by itself, should every wake-up have been lost."""


def for_end(farm: Farm, job_id: str, wait_s: float, permit: Permit) -> Job:
    """The job, as soon as it has ended or after `wait_s` seconds.

    Raises JobNotFound, BrokerUnavailable, and RequestProblem when the permit holds no more.
    """
    deadline = time.monotonic() + wait_s
    with farm.wakeups.end(job_id) as ended:
        while True:
            permit.check()
            job = farm.ledger.read(job_id)
            left = deadline - time.monotonic()
            if job.status.ended or left <= 0:
                return job
            ended.wait(min(left, _RECHECK_S, permit.left_s))
            ended.clear()
