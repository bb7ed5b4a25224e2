"""Listening to Celery's events: a thread that begins anew, for ever, whenever it cannot hear them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

from kombu import Consumer
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from echo_tasks import addresses, backoff, logs
from echo_tasks.celery import app
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.telemetry.exporter import ExporterMetrics
from monitoring.exporter.hearing import Hearing

SILENT_S = 30.0
"""After so long without a word, though there are workers, the connection is taken for dead."""

LOOK_S = 1.0
MOST_GARBAGE = 100
"""So many unreadable things in a row are no longer somebody's message, but the connection's fault."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0
_STOPPING_S = 2.0
_FAULTS = (OSError, RedisError, KombuError, BrokerUnavailable)

log = logs.get(__name__)


class Silence(OSError):
    """Nothing is heard though there is somebody to hear."""


class EventStream:
    """Hears the events on one broker from `start` to `stop`. What is said while it does not, nobody keeps."""

    def __init__(
        self,
        broker_url: str,
        hearing: Hearing,
        metrics: ExporterMetrics,
        is_there_anybody: Callable[[], bool],
    ) -> None:
        """`is_there_anybody` to be heard; it may raise BrokerUnavailable."""
        self._url = addresses.for_celery(broker_url)
        self._hearing = hearing
        self._metrics = metrics
        self._is_there_anybody = is_there_anybody
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._begun = False
        self._garbage = 0
        self.is_heard = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one that waits for the broker is not waited for."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(_STOPPING_S)

    def _run(self) -> None:
        faults = 0
        while not self._stopped.wait(self._pause_s(faults)):
            try:
                self._listen()
            except _FAULTS as error:
                if self.is_heard or not faults:  # once an outage
                    log.warning("events are not heard", error=str(error) or repr(error))
            except Exception:  # the outermost loop of the thread
                log.exception("events are not heard")
            faults = 1 if self.is_heard else faults + 1
            self._tell(is_heard=False)

    def _pause_s(self, faults: int) -> float:
        if not faults:
            return 0.0
        return backoff.delay_s(faults - 1, random.random(), first_s=_FIRST_PAUSE_S, longest_s=_LONGEST_PAUSE_S)  # noqa: S311

    def _listen(self) -> None:
        """Hear events until the end. Raises whatever ends that before."""
        with app.connection_for_read(self._url) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)  # waiting is ours
            channel = connection.default_channel
            queue = app.events.Receiver(channel).queue
            with Consumer(channel, [queue], on_message=self._message, no_ack=True, accept=["json"]):
                self._tell(is_heard=True)
                self._drain(connection)

    def _drain(self, connection: Any) -> None:
        heard_at, self._garbage = time.monotonic(), 0
        while not self._stopped.is_set():
            try:
                connection.drain_events(timeout=LOOK_S)
                heard_at, self._garbage = time.monotonic(), 0
            except TimeoutError:
                heard_at = self._silent_since(heard_at)
            except (AttributeError, KeyError, TypeError, ValueError):  # what somebody sent who is not Celery
                self._refuse_garbage()
            self._hearing.look()

    def _silent_since(self, heard_at: float) -> float:
        """The moment from which the silence counts. Raises Silence."""
        if time.monotonic() - heard_at < SILENT_S:
            return heard_at
        if self._is_there_anybody():
            raise Silence(f"no event within {SILENT_S:g} s, though there are workers")
        return time.monotonic()

    def _refuse_garbage(self) -> None:
        self._hearing.refuse("garbage")
        self._garbage += 1
        if self._garbage > MOST_GARBAGE:
            raise Silence(f"{MOST_GARBAGE} times in a row, what came could not be read")

    def _message(self, message: Any) -> None:
        try:
            body = message.payload
        except (KombuError, ValueError):
            return self._hearing.refuse("garbage")
        return self._hearing.hear(body)

    def _tell(self, *, is_heard: bool) -> None:
        if is_heard:
            log.info("events are heard")
            self._hearing.begin()
            if self._begun:
                self._metrics.reconnects.inc()
            self._begun = True
        self.is_heard = is_heard
        self._metrics.connected.set(is_heard)
