"""A watchdog on the worker's own consumption: a worker that takes nothing though there is something restarts itself."""

from __future__ import annotations

import enum
import os
import threading
import time
from typing import Any

from celery import bootsteps, signals
from celery.worker import state
from celery.worker.consumer.tasks import Tasks
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from echo_tasks import connections, holding, keys, logs, settings
from echo_tasks.registry import STALLED_S
from echo_tasks.telemetry.worker import WORKER_STALLED_SECONDS
from workers.pulse import LONGEST_SILENCE_S, Pulse, Standstill

LOOK_S = 2.0

EX_SOFTWARE = 70

log = logs.get(__name__)


class Remedy(enum.IntEnum):
    """What is done about a worker that takes nothing, from the mildest to the last."""

    NONE = 0
    RECONNECT = 1
    """Its consumer begins anew, as after a lost connection; running steps go on."""
    END = 2
    """The process ends as on SIGTERM, but with a failure's status: running steps have their grace."""
    EXIT = 3
    """The process ends at once: its main loop does not hear."""


def remedy(stalled_s: float, silent_s: float) -> Remedy:
    """What is due after so many seconds without a message taken, and without a beat of the main loop."""
    if silent_s >= LONGEST_SILENCE_S or stalled_s >= 45:
        return Remedy.EXIT
    if stalled_s >= 30:
        return Remedy.END
    return Remedy.RECONNECT if stalled_s >= STALLED_S else Remedy.NONE


class Watchdog(bootsteps.StartStopStep):  # type: ignore[misc]
    """Looks every two seconds, from a thread of its own, whether the worker should take messages and does.

    It should when its queues have some, the broker answers and it has room. A worker that is idle, told to leave
    its queues alone, or full, is no case for it; neither is one whose broker is away. `consumer.watchdog.stalled_s`
    is for how long it has not, and the gauge `echo_worker_stalled_seconds` the same.
    """

    requires = (Pulse, Tasks)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        consumer.watchdog = self
        self._redis = connections.impatient(settings.current().broker)
        self._stall, self._silence = Standstill(LOOK_S), Standstill(LOOK_S)
        self._taken, self._beats = -1, -1
        self._done = Remedy.NONE
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(consumer,), name="watchdog", daemon=True)

    @property
    def stalled_s(self) -> float:
        """Seconds since the worker last took a message, while there were some and it had room."""
        return self._stall.seconds

    def start(self, consumer: Any) -> None:
        """Start the thread, the first time that the consumer is connected."""
        if self._thread.ident is None:
            self._thread.start()

    def shutdown(self, consumer: Any) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self, consumer: Any) -> None:
        while not self._stopped.wait(LOOK_S):
            try:
                self._look(consumer)
            except Exception:  # the outermost loop of the thread
                log.exception("watchdog did not look")

    def _look(self, consumer: Any) -> None:
        waiting = self._waiting(consumer)
        excused = waiting is None or consumer.pulse.is_stopping
        taken, beats, now = holding.QoS.taken, consumer.pulse.beats, time.monotonic()
        may_rest = excused or not waiting or not _has_room(consumer)
        stalled_s = self._stall.look(now, moves=may_rest or taken != self._taken)
        silent_s = self._silence.look(now, moves=excused or beats != self._beats)
        self._taken, self._beats = taken, beats
        WORKER_STALLED_SECONDS.set(stalled_s)
        due = remedy(stalled_s, silent_s)
        if due > self._done:
            log.error("worker takes no messages", stalled_s=stalled_s, silent_s=silent_s, remedy=due.name.lower())
            _apply(due, consumer)
        self._done = due

    def _waiting(self, consumer: Any) -> bool | None:
        """Whether the queues that the worker consumes have messages; None when the broker does not answer."""
        lists = [name for queue in _consumed(consumer) for name in keys.lists(queue)]
        if not lists:
            return False
        try:
            return bool(self._redis.exists(*lists))
        except RedisError:
            return None


def _consumed(consumer: Any) -> set[str]:
    """The queues that the worker is told to consume, whether it does or not.

    Celery does not note a queue among those that it was started with when `add_consumer` brings it back.
    """
    tasks = consumer.task_consumer
    return {*consumer.app.amqp.queues.consume_from, *(queue.name for queue in (tasks.queues if tasks else ()))}


def _has_room(consumer: Any) -> bool:
    """Whether the worker may take one more message: never while it is not connected."""
    tasks = consumer.task_consumer
    return tasks is not None and bool(tasks.channel.qos.can_consume())


def _apply(due: Remedy, consumer: Any) -> None:
    match due:
        case Remedy.RECONNECT:
            consumer.hub.call_soon(_lose_connection)
        case Remedy.END:
            # Celery sends it for a signal alone; with it the steps that run have their grace, and no more.
            signals.worker_shutting_down.send(
                sender=consumer.hostname, sig="watchdog", how="Warm", exitcode=EX_SOFTWARE
            )
            state.should_stop = EX_SOFTWARE
        case Remedy.EXIT:
            os._exit(EX_SOFTWARE)


def _lose_connection() -> None:
    """What the event loop takes for a lost connection, so that Celery begins the consumer anew."""
    raise RedisConnectionError("no message taken for long, though there are some")
