"""Celery's tasks and workers, under the names and labels of danihodovic/celery-exporter, which public dashboards know.

`hostname` is a node's full name. They are of whatever registry they are made for: only an exporter has them.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

TASK_LABELS = ("name", "hostname", "queue_name")

_EVENTS = {
    "sent": "Task messages published.",
    "received": "Tasks that workers have received.",
    "started": "Tasks that workers have begun.",
    "succeeded": "Tasks that have succeeded.",
    "failed": "Tasks that have failed, by exception.",
    "rejected": "Tasks that workers have put back.",
    "revoked": "Tasks that were revoked: their jobs were cancelled, or somebody had Celery do it.",
    "retried": "Tasks that failed in passing and are tried again.",
}
"""Counters by Celery's events, `task-…`; `failed` alone has a further label."""

RUNTIME_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120, 300)
WAIT_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class CeleryMetrics:
    """The metrics that Celery's events change."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.counters = {
            f"task-{event}": Counter(
                f"celery_task_{event}",
                what,
                (*TASK_LABELS, "exception") if event == "failed" else TASK_LABELS,
                registry=registry,
            )
            for event, what in _EVENTS.items()
        }
        self.runtime = Histogram(
            "celery_task_runtime",
            "Seconds that tasks took which have succeeded.",
            TASK_LABELS,
            registry=registry,
            buckets=RUNTIME_BUCKETS,
        )
        self.wait = Histogram(
            "celery_task_queue_wait_time",
            "Seconds from a task message's publication until a worker began the task.",
            TASK_LABELS,
            registry=registry,
            buckets=WAIT_BUCKETS,
        )
        self.up = Gauge(
            "celery_worker_up",
            "1 for a worker that is heard; 0 for one that fell silent.",
            ["hostname"],
            registry=registry,
        )
        self.active = Gauge(
            "celery_worker_tasks_active",
            "Tasks that the worker runs, by its own word.",
            ["hostname"],
            registry=registry,
        )


QUEUE_LENGTH = ("celery_queue_length", "Messages that wait in the queue, over all priorities.")
CONSUMERS = ("celery_active_consumer_count", "Consumers of the queue: one of each worker that takes from it.")
WORKERS = ("celery_active_worker_count", "Workers that take from the queue.")
PROCESSES = ("celery_active_process_count", "Tasks that the workers which take from the queue can run at a time.")
"""Gauges by `queue_name`, read when they are asked for."""
