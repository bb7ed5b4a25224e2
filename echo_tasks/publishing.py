"""Publishing: the messages that carry a job's steps to the workers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from kombu import Exchange, Queue
from kombu.exceptions import BatchPublishError, LimitExceeded, OperationalError
from kombu.pools import producers

from echo_tasks import addresses, keys, tasks, tracing
from echo_tasks.celery import app
from echo_tasks.connections import reason_of
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.router import Router
from echo_tasks.tracing import NO_TRACE, Trace, Value

_LINE_S = 10
"""How long a caller stands in line for one of the pool's producers, when very many publish at once."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0


def broker_priority(priority: int) -> int:
    """A job's priority (10 first) as the Redis transport counts: 0 is served first, 9 last."""
    return keys.HIGHEST - priority


def direct_queue(node: str) -> Queue:
    """A worker's own queue. It is bound to no exchange: messages are sent to it by name, and nothing is left of it."""
    return Queue(keys.direct(node), Exchange(""), routing_key=keys.direct(node))


class Publisher:
    """Puts steps on the queues of one broker. Threads and greenlets may share it."""

    def __init__(self, broker_url: str, *, router: Router | None = None, patience_s: float = 0) -> None:
        """`router` chooses among the workers' own queues; None: all goes to the shared ones. `patience_s` is how long
        `publish` goes on trying; it tries twice at least, since the connection at hand may be one that the broker
        closed long ago.
        """
        impatience = {"socket_timeout": 1.5, "socket_connect_timeout": 0.8}
        self._producers = producers[
            app.connection_for_write(addresses.for_celery(broker_url), transport_options=impatience)
        ]
        self._router = router
        self._patience_s = patience_s

    def publish(
        self,
        job_id: str,
        steps: Sequence[str],
        priority: int,
        session_id: str | None = None,
        *,
        trace: Trace = NO_TRACE,
    ) -> None:
        """Put the steps of a job on their queues in one round trip. Blocks; raises BrokerUnavailable.

        Where there is a router, it may choose the queues of those that are published for the first time, for a session;
        all others are for all workers. `trace` is the job's, where it need not be the caller's.

        After a fault some of the steps may be on their queues, or be there twice: a step may be published
        any number of times, its task runs once.
        """
        told: dict[str, Value] = {
            "messaging.system": "celery",
            "messaging.batch.message_count": len(steps),
            "echo.job_id": job_id,
            "echo.steps": ",".join(steps),
            "echo.priority": priority,
        }
        with tracing.span("publish", "producer", of=trace, attributes=told):
            self._publish(job_id, steps, priority, session_id)

    def _publish(self, job_id: str, steps: Sequence[str], priority: int, session_id: str | None) -> None:
        nodes: Mapping[str, str] = {}
        if self._router is not None and session_id is not None:
            nodes = self._router.route(job_id, steps, session_id)
        deadline = time.monotonic() + self._patience_s
        pause_s, tries = 0.0, 0
        while True:
            try:
                return self._publish_once(job_id, steps, priority, nodes)
            except (OperationalError, BatchPublishError, LimitExceeded, OSError) as error:
                tries += 1
                if tries >= 2 and time.monotonic() >= deadline:
                    message = f"cannot publish job {job_id}: {error}"
                    raise BrokerUnavailable(message, reason=reason_of(error)) from error
            time.sleep(pause_s)
            pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)

    def _publish_once(self, job_id: str, steps: Sequence[str], priority: int, nodes: Mapping[str, str]) -> None:
        """The message's id names the job and the step, so that Flower finds them."""
        carried = tracing.current()
        with self._producers.acquire(block=True, timeout=_LINE_S) as producer, producer.batch():
            for step in steps:
                tasks.BY_STEP[step].apply_async(
                    (job_id,),
                    task_id=f"{job_id}.{step}",
                    priority=broker_priority(priority),
                    producer=producer,
                    retry=False,
                    headers=dict(carried),
                    **({"queue": direct_queue(nodes[step])} if step in nodes else {}),
                )
