"""Waking the requests that wait for a job: one subscription for the whole process, however many wait."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from echo_tasks import connections, keys, logs

_POLL_S = 1.0
_SILENT_POLLS = 3
_RECONNECT_S = 0.5

log = logs.get(__name__)


class Wakeups:
    """Tells listeners that a job's stream grew or ended. A wake-up may be spurious; look, then wait again.

    When an API key changes, everybody is woken. While the subscription is down nobody is; once it is back everybody is,
    so nothing is missed for longer than the outage.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._growth: dict[str, set[threading.Event]] = defaultdict(set)
        self._ends: dict[str, set[threading.Event]] = defaultdict(set)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._interrupted = False
        self.key_changes = 0
        """How often API keys have been revoked or rotated, or may have been while nobody listened."""

    @contextmanager
    def growth(self, job_id: str) -> Iterator[threading.Event]:
        """An event that is set whenever the job's stream grows or ends."""
        with self._listening(self._growth, job_id) as event:
            yield event

    @contextmanager
    def end(self, job_id: str) -> Iterator[threading.Event]:
        """An event that is set when the job ends."""
        with self._listening(self._ends, job_id) as event:
            yield event

    @contextmanager
    def _listening(self, table: dict[str, set[threading.Event]], job_id: str) -> Iterator[threading.Event]:
        event = threading.Event()
        with self._lock:
            table[job_id].add(event)
            if self._thread is None:  # started by the first listener, in the process that serves
                self._thread = threading.Thread(target=self._run, name="wakeups", daemon=True)
                self._thread.start()
        try:
            yield event
        finally:
            with self._lock:
                table[job_id].discard(event)
                if not table[job_id]:
                    del table[job_id]

    def _run(self) -> None:
        while True:
            try:
                with connections.impatient(self._url) as client, client.pubsub() as subscription:
                    subscription.subscribe(keys.WAKE_CHANNEL, keys.ACCESS_CHANNEL)
                    self._interrupted = False
                    self._follow(subscription)
            except RedisError as error:
                if not self._interrupted:  # once an outage
                    log.warning("wake-ups interrupted", error=str(error))
                self._interrupted = True
            except Exception:  # the outermost loop of the thread
                log.exception("wake-ups interrupted")
            time.sleep(_RECONNECT_S)

    def _follow(self, subscription: redis.client.PubSub) -> None:
        silent = 0
        while True:
            message = subscription.get_message(timeout=_POLL_S)
            silent = silent + 1 if message is None else 0
            if silent > _SILENT_POLLS:
                raise RedisConnectionError("the broker does not answer pings")
            if message is None:
                subscription.ping()
            elif message["type"] == "subscribe" or message["channel"] == keys.ACCESS_CHANNEL:
                self.key_changes += 1
                self._wake_all()
            elif message["type"] == "message":
                job_ids, _, end = message["data"].partition(" ")
                self._wake(job_ids.split(","), ended=bool(end))

    def _wake(self, job_ids: list[str], *, ended: bool) -> None:
        with self._lock:
            for table in (self._growth, self._ends) if ended else (self._growth,):
                for job_id in job_ids:
                    for event in table.get(job_id, ()):
                        event.set()

    def _wake_all(self) -> None:
        with self._lock:
            for table in (self._growth, self._ends):
                for events in table.values():
                    for event in events:
                        event.set()
