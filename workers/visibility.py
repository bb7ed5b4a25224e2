"""Renewing what this worker holds, so that a short visibility timeout takes messages from the dead alone."""

from __future__ import annotations

import threading
import time
from typing import Any

import redis
from celery import bootsteps
from celery.worker import state
from celery.worker.consumer.tasks import Tasks
from redis.exceptions import RedisError

from echo_tasks import connections, holding, logs, settings
from workers.pulse import LONGEST_SILENCE_S, Pulse, Standstill

RETRY_S = 0.5
"""After a renewal that failed: the broker that comes back must hear of us before others look for the overdue."""

log = logs.get(__name__)


class Visibility(bootsteps.StartStopStep):  # type: ignore[misc]
    """Renews, from a thread of its own, the messages that the worker has and has not acknowledged.

    The thread outlives the consumer's connections, and the warm end of the worker, in which the pool still runs
    steps: it ends when the consumer is shut down. It renews nothing for a main loop that is dead: that one will
    never acknowledge, and its messages are better off elsewhere.
    """

    requires = (Pulse, Tasks)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        chosen = settings.current()
        self._every_s = holding.renewal_s(chosen.echo_visibility_s)
        self._redis = connections.impatient(chosen.broker)
        self._silence = Standstill(self._every_s)
        self._beats = -1
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(consumer,), name="visibility", daemon=True)

    def start(self, consumer: Any) -> None:
        """Start the thread, the first time that the consumer is connected."""
        if self._thread.ident is None:
            self._thread.start()

    def shutdown(self, consumer: Any) -> None:
        """End the thread: the connection is about to give back what is still held."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self, consumer: Any) -> None:
        wait_s = self._every_s
        while not self._stopped.wait(wait_s):
            try:
                self._renew(consumer)
                wait_s = self._every_s
            except RedisError as error:
                log.warning("messages not renewed", error=str(error))
                self._silence.look(time.monotonic(), moves=True)  # the loop may well wait for the broker, too
                wait_s = RETRY_S
            except Exception:  # the outermost loop of the thread
                log.exception("messages not renewed")

    def _renew(self, consumer: Any) -> None:
        if self._is_dead(consumer.pulse):
            log.error("main loop is dead, messages are left to others", silent_s=round(self._silence.seconds))
            return
        renew(self._redis, held(consumer), time.time())

    def _is_dead(self, pulse: Pulse) -> bool:
        moves = pulse.is_stopping or pulse.beats != self._beats
        self._beats = pulse.beats
        return self._silence.look(time.monotonic(), moves=moves) >= LONGEST_SILENCE_S


def held(consumer: Any) -> set[str]:
    """Delivery tags of the messages that the worker has not acknowledged: prefetched, in line, or run.

    What runs on after a lost connection belongs to no channel any more, but is run nevertheless. Safe to call
    from any thread: each copy is made by one call into C.
    """
    requests = tuple(state.requests.values())
    tags = {request.message.delivery_tag for request in requests if not request.acknowledged}
    if (tasks := consumer.task_consumer) is not None and (qos := tasks.channel.qos) is not None:
        tags |= set(qos._delivered) - set(qos._dirty)
    return tags


def renew(client: redis.Redis, tags: set[str], now_s: float) -> None:
    """Have the messages count as just delivered. What was acknowledged meanwhile is not brought back."""
    if tags:
        client.zadd(holding.INDEX, dict.fromkeys(tags, now_s), xx=True)
