"""The pulse of the worker's main loop, and clocks for how long something has stood still."""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.bootsteps import RUN
from celery.worker.consumer.tasks import Tasks

BEAT_S = 1.0

LONGEST_SILENCE_S = 60.0
"""Of a loop that has no reason to wait: longer than its longest call to the broker may hang, retries and all."""


class Pulse(bootsteps.StartStopStep):  # type: ignore[misc]
    """Counts the beats of the consumer's event loop, one a second, as `consumer.pulse`."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        consumer.pulse = self
        self.beats = 0
        self._worker = consumer.controller

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Beat from now on; Celery cancels the timer when the connection is lost."""
        hub.call_repeatedly(BEAT_S, self._beat)

    @property
    def is_stopping(self) -> bool:
        """Whether the loop has ended because the worker is coming to its end."""
        return bool(self._worker.blueprint.state != RUN)

    def _beat(self) -> None:
        self.beats += 1


class Standstill:
    """For how long nothing has moved that should have, by looks at about equal distances.

    Of the time between two looks no more than twice the usual counts: an observer that was stopped itself
    (SIGSTOP, a machine put to sleep) has not seen anybody stand still.
    """

    def __init__(self, every_s: float) -> None:
        self._most_s = 2 * every_s
        self._looked_at: float | None = None
        self.seconds = 0.0

    def look(self, at_s: float, *, moves: bool) -> float:
        """Note a look at a monotonic time, and return the seconds of standstill up to it."""
        since = at_s - self._looked_at if self._looked_at is not None else 0.0
        self._looked_at = at_s
        self.seconds = 0.0 if moves else self.seconds + min(since, self._most_s)
        return self.seconds
