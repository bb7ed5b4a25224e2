"""The last words of a worker: events of what ended while it stopped."""

from __future__ import annotations

from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks
from kombu.common import ignore_errors


class Farewell(bootsteps.StartStopStep):  # type: ignore[misc]
    """Sends the events that Celery holds back until its main loop's next turn.

    For steps that end in their worker's grace there is no such turn, and nobody would hear of their ends.
    """

    requires = (Tasks,)  # and with it the dispatcher of events, which is closed after this

    def shutdown(self, consumer: Any) -> None:
        """The pool has ended, and nothing more is said. A broker that is away hears nothing."""
        if dispatcher := consumer.event_dispatcher:
            ignore_errors(consumer, dispatcher.flush)
