"""The ledger's own counts: how many jobs and steps have come and ended, and how, ever since the broker has data.

The scripts that make the changes count them in the same breath. So the counts outlive every process, and are exact
whatever is delivered twice or dies: they are what all that is told of jobs can be checked by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import redis

from echo_tasks import keys
from echo_tasks.connections import broker_faults
from echo_tasks.messages import JobStatus

ENDS = tuple(status.value for status in JobStatus if status.ended)
"""How jobs end, and steps: `succeeded`, `failed`, `cancelled`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted so far.

    A step ends when it is recorded, or with its job, if it was let go and is not recorded by then. A retry is a try
    that failed in passing; a redelivery, a claim after the first that follows upon no retry: a worker died or stopped.
    """

    jobs_accepted: int
    jobs_abandoned: int
    """Of those, the ones whose clients were told that they were not accepted, since they could not be published."""
    jobs_ended: Mapping[str, int]
    steps_ended: Mapping[tuple[str, str], int]
    """By step and outcome."""
    steps_retried: Mapping[str, int]
    steps_redelivered: Mapping[str, int]
    dead_letters: int

    @classmethod
    def of(cls, told: Mapping[str, str]) -> Counts:
        """The counts in the hash `keys.COUNTS`, by the words that the scripts use."""

        def count(*words: str) -> int:
            return int(told.get(":".join(words), 0))

        return cls(
            jobs_accepted=count("jobs", "accepted"),
            jobs_abandoned=count("jobs", "abandoned"),
            jobs_ended={status: count("jobs", status) for status in ENDS},
            steps_ended={(step, end): count("steps", step, end) for step, end in product(keys.STEPS, ENDS)},
            steps_retried={step: count("retried", step) for step in keys.STEPS},
            steps_redelivered={step: count("redelivered", step) for step in keys.STEPS},
            dead_letters=count("letters"),
        )


def read(client: redis.Redis) -> Counts:
    """The counts as they are now. Raises BrokerUnavailable."""
    with broker_faults():
        return Counts.of(client.hgetall(keys.COUNTS))
