"""Celery's autoscaler for our pool: a worker's slots follow their occupancy, and what it fetches follows its slots."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

import redis
from celery.worker import autoscale
from redis.exceptions import RedisError

from echo_tasks import connections, keys, logs, settings
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.registry import Registry
from workers.occupancy import Bounds, Occupancy, grown, shrunk, within

LOOK_S = 1.0

log = logs.get(__name__)


class Autoscaler(autoscale.Autoscaler):  # type: ignore[misc]
    """Moves the slots between the two numbers of `--autoscale`, by occupancy averaged over time.

    It looks once a second, in the worker's main loop, which calls `maybe_scale` every `keepalive` seconds. What
    Celery calls the keepalive (AUTOSCALE_KEEPALIVE, 30 s) is the window of low occupancy before slots go. Its own
    autoscaler counts what the worker has reserved, at once, and fetches for all the slots that there may be: at its
    least it would hoard what other workers have room for. Slots beyond the engine's would only queue: there are as
    many as the first of the two numbers says, and none can be had later.
    """

    max_concurrency: int
    min_concurrency: int

    def __init__(
        self,
        pool: Any,
        max_concurrency: int,
        min_concurrency: int = 0,
        worker: Any = None,
        keepalive: float = autoscale.AUTOSCALE_KEEPALIVE,
        mutex: Any = None,
    ) -> None:
        super().__init__(pool, max_concurrency, min_concurrency, worker, keepalive, mutex)
        self.keepalive = LOOK_S
        self._most = max_concurrency
        self._settings = settings.current()
        self._redis = connections.impatient(self._settings.broker)
        self._occupancy = Occupancy(keepalive)
        self._kept_to = max_concurrency
        target_ms = self._settings.echo_tpot_ms
        self._target_s = None if target_ms is None else target_ms / 1000

    def maybe_scale(self, req: Any = None) -> None:
        """Look, unless it is a message that calls: what it changes shows at the next look."""
        if req is None:
            self._occupancy.look(time.monotonic(), self.pool.busy_s)
            self._move(self._wanted())

    def update(self, max: int | None = None, min: int | None = None) -> tuple[int, int]:
        """Have other bounds from now on. Raises ValueError for those that cannot be."""
        with self.mutex:
            most = self.max_concurrency if max is None else max
            least = self.min_concurrency if min is None else min or 1
            if not 1 <= least <= most <= self._most:
                raise ValueError(f"autoscale max={most} min={least}: it must be 1 <= min <= max <= {self._most} here")
            self.max_concurrency, self.min_concurrency = most, least
            self.worker.max_concurrency = most  # Celery bounds fetching by it with worker_disable_prefetch
            self._move(_clamped(self.processes, least, most))
            return most, least

    def info(self) -> dict[str, Any]:
        """What `inspect stats` tells."""
        return {**super().info(), "occupancy": round(self._occupancy.latest / self.processes, 3)}

    @property
    def capacity(self) -> int:
        """The slots that there are as soon as they are wanted."""
        return min(self.max_concurrency, self._kept_to)

    def _wanted(self) -> int:
        bounds = Bounds(
            self.min_concurrency,
            self.max_concurrency,
            self._settings.scale_up_threshold,
            self._settings.scale_down_threshold,
        )
        slots, busy = self.processes, self._occupancy.latest
        bounds = within(bounds, busy, self.worker.token_s(), self._target_s)
        self._kept_to = bounds.most
        if slots > bounds.most:
            return bounds.most
        if slots < bounds.most and busy >= bounds.scale_up * slots:
            return grown(slots, busy, self._waiting(), bounds)
        return shrunk(slots, self._occupancy, bounds)

    def _waiting(self) -> int:
        """What waits for this worker; 0 when the broker does not tell."""
        tasks = self.worker.consumer.task_consumer
        try:
            return share(self._redis, [queue.name for queue in tasks.queues] if tasks else [])
        except (RedisError, BrokerUnavailable) as error:
            log.warning("backlog unknown", error=str(error))
            return 0

    def _move(self, slots: int) -> None:
        change = slots - self.processes
        if not change:
            return
        log.info("slots follow their occupancy", slots=slots, busy=round(self._occupancy.latest, 2))
        if change > 0:
            self.pool.grow(change)
        else:
            self.pool.shrink(-change)
        self.worker.consumer._update_prefetch_count(change)
        self._occupancy.restart()


def share(client: redis.Redis, queues: list[str]) -> int:
    """How many of the messages that wait in the queues are one worker's, of all that live and consume them."""
    if not queues:
        return 0
    workers = Counter(queue for record in Registry(client).live() for queue in record.queues)
    with client.pipeline(transaction=False) as pipe:
        for queue in queues:
            for name in keys.lists(queue):
                pipe.llen(name)
        lengths = iter(pipe.execute())
    waiting = {queue: sum(next(lengths) for _ in keys.lists(queue)) for queue in queues}
    return sum(math.ceil(waiting[queue] / max(1, workers[queue])) for queue in queues)


def capacity(worker: Any) -> int:
    """The slots that the worker has as soon as they are wanted.

    Not those that it has at the moment: the farm would count a worker that let idle ones go for a smaller one, and
    start others for what this one takes within a second.
    """
    return int(worker.autoscaler.capacity if worker.autoscaler else worker.pool.num_processes)


def fetch_for_slots(worker: Any) -> None:
    """Before the consumer starts, have it fetch for the slots that there are; Celery's cap is for all there may be."""
    worker.consumer.initial_prefetch_count = worker.pool.num_processes * worker.prefetch_multiplier


def _clamped(value: int, least: int, most: int) -> int:
    return max(least, min(value, most))
