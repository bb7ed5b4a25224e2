"""The load of the past, kept in the broker bin by bin, so that a forecast outlives its controller."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import redis

from autoscale.observation import Observation
from echo_tasks import keys
from echo_tasks.connections import broker_faults

BIN_S = 60.0

KEPT_S = 15 * 86400
"""The same time last week, and a week before that to try a forecast on."""

MOST_BINS = round(KEPT_S / BIN_S)


@dataclass(frozen=True, slots=True)
class Bin:
    """BIN_S seconds from `begins_at` on: the mean number of steps that were wanted at a time, and the jobs accepted."""

    begins_at: float
    demand: float
    arrived: int


class Kept:
    """The bins of one broker's farm, written by whoever leads. Every method raises BrokerUnavailable."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def add(self, done: Bin) -> None:
        """Keep a bin; those that are too old go."""
        oldest = done.begins_at - KEPT_S
        with broker_faults(), self._redis.pipeline() as pipe:
            pipe.zremrangebyscore(keys.SCALING_HISTORY, done.begins_at, done.begins_at)  # of a leader before us
            pipe.zadd(keys.SCALING_HISTORY, {_written(done): done.begins_at})
            pipe.zremrangebyscore(keys.SCALING_HISTORY, "-inf", f"({oldest:.0f}")
            pipe.execute()

    def read(self) -> list[Bin]:
        """All bins that are kept, the oldest first; there may be gaps."""
        with broker_faults():
            return [_read(text) for text in self._redis.zrange(keys.SCALING_HISTORY, 0, -1)]


@dataclass(slots=True)
class Filling:
    """The bin that is being filled."""

    _begins_at: float = math.nan
    _samples: list[int] = field(default_factory=list)
    _arrived_before: int = 0

    def add(self, seen: Observation) -> Bin | None:
        """Note an observation; the bin before, if this one is the first of another."""
        begins_at = seen.at // BIN_S * BIN_S
        done = None
        if begins_at != self._begins_at:
            if self._samples:
                mean = sum(self._samples) / len(self._samples)
                done = Bin(self._begins_at, mean, max(0, seen.arrived - self._arrived_before))
            self._begins_at, self._samples, self._arrived_before = begins_at, [], seen.arrived
        self._samples.append(seen.demand)
        return done


def _written(done: Bin) -> str:
    return f"{done.begins_at:.0f}:{done.demand:.3f}:{done.arrived}"


def _read(text: str) -> Bin:
    begins_at, demand, arrived = text.split(":")
    return Bin(float(begins_at), float(demand), int(arrived))
