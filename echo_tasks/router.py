"""Sending the steps of jobs to workers' own queues, by what is known of the workers."""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis

from echo_tasks import keys, logs
from echo_tasks.connections import broker_faults
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.messages import WorkerRecord
from echo_tasks.registry import Registry
from echo_tasks.routing import SHARED, Asked, Candidate, choose
from echo_tasks.scripts import script
from echo_tasks.telemetry.routing import STEPS_ROUTED

GOOD_FOR_S = 1.0
"""How long the workers' records are taken as they were read."""

LATELY_S = 60.0
"""The time in which a step that was sent comes to count a third of a new one."""

log = logs.get(__name__)


@dataclass(slots=True)
class _Known:
    """The workers as they were read, and when each had told so, by this process's clock."""

    read_at: float = float("-inf")
    workers: Sequence[WorkerRecord] = ()
    told_at: dict[str, float] = field(default_factory=dict)


class Router:
    """Chooses workers for one broker's steps. Threads and greenlets may share it."""

    def __init__(
        self,
        client: redis.Redis,
        strategy: str,
        *,
        here: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`here` is the worker that this process is, if it is one."""
        self._registry = Registry(client)
        self._strategy = strategy
        self._here = here
        self._clock = clock
        self._chance = chance
        self._turns = itertools.count()
        self._route = script(client, "route")
        self._known = _Known()
        self._sent: dict[str, deque[float]] = defaultdict(deque)
        self._lately: dict[str, float] = defaultdict(float)
        self._faded_at = clock()
        self._lock = threading.Lock()  # guards all that is known and sent

    def route(self, job_id: str, steps: Sequence[str], session_id: str) -> dict[str, str]:
        """Have those steps of a job whose messages go to a worker's own queue wait there: the workers, by step.

        Without the broker there are none: whoever publishes finds that out.
        """
        try:
            chosen = self._chosen(steps, session_id)
            routed = self._noted(job_id, chosen) if chosen else {}
        except BrokerUnavailable as error:
            log.warning("steps are sent to all workers", job_id=job_id, error=str(error))
            routed = {}
        STEPS_ROUTED.labels("direct").inc(len(routed))
        STEPS_ROUTED.labels("shared").inc(len(steps) - len(routed))
        return routed

    def _chosen(self, steps: Sequence[str], session_id: str) -> dict[str, str]:
        with self._lock:
            now = self._clock()
            if now - self._known.read_at >= GOOD_FOR_S:
                self._known = self._read()
            self._fade(now)
            here = self._here if keys.INTEGRATION in steps else None
            chosen = {}
            for position, step in enumerate(steps):
                asked = Asked(session_id, len(steps) - position, here, next(self._turns), self._chance())
                if node := choose(self._strategy, self._candidates(now), step, asked):
                    chosen[step] = node
                    self._sent[node].append(now)
                    self._lately[node] += 1
        return chosen

    def _candidates(self, now: float) -> list[Candidate]:
        return [
            Candidate(worker, self._unknown_to(worker, now), self._lately[worker.node])
            for worker in self._known.workers
        ]

    def _fade(self, now: float) -> None:
        share = math.exp((self._faded_at - now) / LATELY_S)
        for node in self._lately:
            self._lately[node] *= share
        self._faded_at = now

    def _noted(self, job_id: str, chosen: dict[str, str]) -> dict[str, str]:
        flat = [part for pair in chosen.items() for part in pair]
        with broker_faults():
            replies = self._route(keys=[keys.job(job_id), keys.DIRECTS, *keys.of_steps()], args=[job_id, *flat])
        return {step: node for (step, node), is_noted in zip(chosen.items(), replies, strict=True) if is_noted}

    def _read(self) -> _Known:
        at, workers = self._registry.snapshot()
        now = self._clock()
        for node in set(self._sent) - {worker.node for worker in workers}:
            del self._sent[node]
            self._lately.pop(node, None)
        return _Known(now, workers, {worker.node: now - (at - worker.seen_at) for worker in workers})

    def _unknown_to(self, worker: WorkerRecord, now: float) -> int:
        """Steps sent since the worker has told of itself, but for those that it will have answered already."""
        sent = self._sent[worker.node]
        since = self._known.told_at[worker.node]
        if worker.mean_service_s > 0:
            since = max(since, now - worker.mean_service_s)
        while sent and sent[0] < since:
            sent.popleft()
        return len(sent)


def by_strategy(client: redis.Redis, strategy: str, here: str | None = None) -> Router | None:
    """What sends steps by a strategy, from a worker if it is one; None where they all go to the shared queues."""
    return None if strategy == SHARED else Router(client, strategy, here=here)
