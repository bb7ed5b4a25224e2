"""How long a worker takes from being asked for to its first word: measured, and kept for the next controller."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import median

import redis

from echo_tasks import keys
from echo_tasks.connections import broker_faults

KEPT = 32

LAPSES_S = 900
"""A worker that has not said a word by then is none: the next one is another's."""


class Startups:
    """The latest start-up times of one broker's workers. Moments are the broker's; methods raise BrokerUnavailable."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._asked: deque[float] = deque()
        self._known: set[str] | None = None

    def asked(self, count: int, at: float) -> None:
        """So many workers were asked for."""
        self._asked.extend([at] * count)

    def seen(self, nodes: Iterable[str], at: float) -> None:
        """These are there now: who is new is whoever was asked for first."""
        there = set(nodes)
        new = there - (there if self._known is None else self._known)
        self._known = there
        while self._asked and at - self._asked[0] > LAPSES_S:
            self._asked.popleft()
        taken = [at - self._asked.popleft() for _ in range(min(len(new), len(self._asked)))]
        if taken:
            with broker_faults(), self._redis.pipeline() as pipe:
                pipe.lpush(keys.STARTUPS, *(f"{seconds:.3f}" for seconds in taken))
                pipe.ltrim(keys.STARTUPS, 0, KEPT - 1)
                pipe.execute()

    def usual_s(self) -> float | None:
        """The median of the latest; None when none was measured."""
        with broker_faults():
            taken = self._redis.lrange(keys.STARTUPS, 0, -1)
        return median(map(float, taken)) if taken else None
