"""Draining: a worker takes no new work, finishes what it holds however long that takes, and ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from celery.worker import state

from echo_tasks import logs
from workers.visibility import held

log = logs.get(__name__)


class Draining:
    """Drains one worker once it has been asked to; `look` is called again and again from a thread of its own."""

    def __init__(self, worker: Any, is_asked: Callable[[], bool]) -> None:
        self._worker = worker
        self._is_asked = is_asked
        self._has_left = False

    def look(self) -> None:
        """Do what is due: leave the queues, or end with status 0 and no signal, so that no grace time is counted."""
        consumer = self._worker.consumer
        if self._has_left:
            if not held(consumer):
                log.info("worker is drained")
                state.should_stop = os.EX_OK
        elif self._is_asked():
            consumer.hub.call_soon(self._leave, consumer)

    def _leave(self, consumer: Any) -> None:
        """Consume nothing any more. In the event loop's thread alone."""
        log.info("worker drains", running=len(state.active_requests))
        queues, tasks = consumer.app.amqp.queues, consumer.task_consumer
        for name in list(queues.consume_from):
            queues.deselect(name)
            if tasks is not None:
                tasks.cancel_by_queue(name)
        self._has_left = True
