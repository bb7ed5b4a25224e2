"""The side of the ledger for equal jobs: one of them leads, the others follow it and have its answer.

Each method is one step of the broker's server; it blocks for one round trip, and raises BrokerUnavailable.
"""

from __future__ import annotations

import json

import redis

from echo_tasks import keys, records, versions
from echo_tasks.answers import Flight
from echo_tasks.connections import broker_faults
from echo_tasks.messages import JobSpec
from echo_tasks.scripts import script

FOLLOW_S = 10
"""How often somebody looks whether the job that another one follows is still under way."""

_SPEC_FIELDS = 5
"""How many values of a record `lua/followers.lua` answers for each job."""


class FlightLedger:
    """Who of the jobs on one broker waits for whom. Threads and greenlets may share it."""

    def __init__(self, client: redis.Redis, *, retention_s: int) -> None:
        self._redis = client
        self._retention_s = retention_s
        self._lead = script(client, "lead")
        self._alone = script(client, "alone")
        self._followers = script(client, "followers")

    def lead(self, turn: JobSpec, flight: Flight) -> str:
        """Have the job be the one that equal ones follow, or follow one that is; the other's id, or nothing."""
        names = [keys.job(turn.job_id), keys.flight(flight.id), keys.followers(turn.job_id), *keys.of_steps()]
        stamp = json.dumps(flight.stamp)
        with broker_faults():
            reply: str = self._lead(
                keys=names,
                args=[turn.job_id, keys.job(""), keys.FOLLOWERS, turn.priority, stamp, self._retention_s, FOLLOW_S],
            )
        return reply

    def go_alone(self, job_id: str) -> None:
        """Have a job that followed an equal one run by itself; its messages are about to be published."""
        with broker_faults():
            self._alone(keys=[keys.job(job_id), *keys.of_steps()], args=[job_id])

    def followers(self, job_id: str) -> list[JobSpec]:
        """The open jobs that wait for this one's answer, but for those that only newer processes can read."""
        with broker_faults():
            flat = self._followers(keys=[keys.followers(job_id)], args=[keys.job(""), versions.LATEST])
        found = (records.readable_spec(flat[at : at + _SPEC_FIELDS]) for at in range(0, len(flat), _SPEC_FIELDS))
        return [spec for spec in found if spec is not None]

    def disband(self, job_id: str) -> None:
        """Nobody follows the job any more."""
        with broker_faults():
            self._redis.delete(keys.followers(job_id))
