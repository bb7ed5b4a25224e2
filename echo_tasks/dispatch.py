"""Publishing: the messages that carry a job's steps to the workers."""

from __future__ import annotations

from collections.abc import Iterable

from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import producers

from echo_tasks import tasks
from echo_tasks.celery import app
from echo_tasks.errors import BrokerUnavailable

LOWEST, HIGHEST = 1, 10

_ACQUIRE_TIMEOUT_S = 1


def broker_priority(priority: int) -> int:
    """A job's priority (10 first) as the Redis transport counts: 0 is served first, 9 last."""
    return HIGHEST - priority


class Publisher:
    """Puts steps on the queues of one broker. Threads and greenlets may share it."""

    def __init__(self, broker_url: str) -> None:
        self._producers = producers[app.connection_for_write(broker_url)]

    def publish(self, job_id: str, steps: Iterable[str], priority: int) -> None:
        """Put the steps of a job on their queues. A step may be published again: its task runs once.

        The message's id names the job and the step, so that Flower finds them. Raises BrokerUnavailable.
        """
        try:
            with self._producers.acquire(block=True, timeout=_ACQUIRE_TIMEOUT_S) as producer:
                for step in steps:
                    tasks.BY_STEP[step].apply_async(
                        (job_id,),
                        task_id=f"{job_id}.{step}",
                        priority=broker_priority(priority),
                        producer=producer,
                        retry=True,
                        retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0},
                    )
        except (OperationalError, LimitExceeded, OSError) as error:
            raise BrokerUnavailable(f"cannot publish job {job_id}: {error}") from error
