"""What is heard of Celery, whatever it is: each event goes to whom it concerns, and what is none is counted as that."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from echo_tasks.telemetry.celery import CeleryMetrics
from echo_tasks.telemetry.exporter import ExporterMetrics
from monitoring.exporter.tasks import Tasks
from monitoring.exporter.workers import Workers

_OF_WORKERS = frozenset({"worker-online", "worker-heartbeat", "worker-offline"})
_PASSED_OVER = frozenset({"task-cancelled"})
"""Of a task that its worker lets go because it lost the broker: it is delivered again."""


class Hearing:
    """Takes one message after the other, from one thread."""

    def __init__(
        self,
        celery: CeleryMetrics,
        own: ExporterMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._own = own
        self._clock = clock
        self._wall_clock = wall_clock
        self._of_tasks = frozenset(celery.counters)
        self.tasks = Tasks(celery, self.refuse)
        self.workers = Workers(celery, self.refuse, self.tasks.forget)

    def refuse(self, reason: str) -> None:
        """Count something that was heard and cannot be taken as it is."""
        self._own.refused.labels(reason).inc()

    def begin(self) -> None:
        """From now on there is something to hear; until now there was not, which was nobody's silence."""
        self.workers.listening_again(self._clock())

    def look(self) -> None:
        """See who has fallen silent; to be called again and again while there is something to hear."""
        self.workers.look(self._clock())

    def hear(self, body: object) -> None:
        """Take a message's body: an event, or a list of such. Raises nothing, whatever it is."""
        for event in body if isinstance(body, list) else [body]:
            try:
                self._hear(event)
            except ValueError:
                self.refuse("form")

    def _hear(self, event: object) -> None:
        if not isinstance(event, Mapping):
            return self.refuse("garbage")
        kind, hostname = event.get("type"), event.get("hostname")
        if not isinstance(kind, str) or kind not in self._of_tasks | _OF_WORKERS | _PASSED_OVER:
            return self.refuse("type")
        if not isinstance(hostname, str) or not hostname:
            raise ValueError("no hostname")
        self._take(kind, hostname, event)
        self._own.events.labels(kind).inc()
        self._own.last_event.set(self._wall_clock())
        return None

    def _take(self, kind: str, hostname: str, event: Mapping[str, Any]) -> None:
        name = self.workers.named(hostname, self._clock())
        if kind in _OF_WORKERS:
            self.workers.heard(kind, name, event)
        elif kind in self._of_tasks:
            self.tasks.heard(kind, name, event)
