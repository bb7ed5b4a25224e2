"""Draining: a worker takes no new work, finishes what it holds however long that takes, and ends."""

from __future__ import annotations

import os
from typing import Any

from celery.worker import state

from echo_tasks import logs
from workers.pool import TaskPool
from workers.visibility import held

log = logs.get(__name__)


class Draining:
    """Drains one worker once it has been asked to; `look` is called again and again from a thread of its own.

    The queues are left for good: a consumer that connects anew consumes what is selected, and nothing is. The worker
    ends by itself when it holds no message, with status 0 and no signal, so that no grace time is counted.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._has_left = False
        self.asked = False

    def look(self) -> None:
        """Do what is due: leave the queues, or end."""
        if not self.asked:
            return
        consumer = self._worker.consumer
        if not self._has_left:
            consumer.hub.call_soon(self._leave, consumer)
        elif not held(consumer):
            log.info("worker is drained")
            state.should_stop = os.EX_OK

    def _leave(self, consumer: Any) -> None:
        """Consume nothing any more, and give back what no thread has taken up. In the event loop's thread alone."""
        if self._has_left:
            return
        log.info("worker drains", running=len(state.active_requests))
        queues, tasks = consumer.app.amqp.queues, consumer.task_consumer
        for name in list(queues.consume_from):
            queues.deselect(name)
            if tasks is not None:
                tasks.cancel_by_queue(name)
        self._give_back()
        self._has_left = True

    def _give_back(self) -> None:
        pool: TaskPool = self._worker.pool
        pool.forget_line()
        for request in set(state.reserved_requests) - set(state.active_requests):
            request.reject(requeue=True)
            state.task_ready(request)
