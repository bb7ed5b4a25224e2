"""Celery's events of tasks, as metrics: they are made of what is heard, and of nothing else."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from echo_tasks import keys
from echo_tasks.telemetry.celery import CeleryMetrics
from monitoring.exporter.labels import Bounded

MOST_REMEMBERED = 50_000
"""Tasks whose names and queues are known: as many as may well be on their way."""

MOST_VALUES = 64
"""Of names, of queues and of exceptions that are not the farm's own."""

UNKNOWN = "unknown"

_EXCEPTION = re.compile(r"(?:\w+\.)*(\w+)\(")


class _Task(NamedTuple):
    name: str
    queue: str
    sent_at: float | None = None


class Tasks:
    """Counts and times tasks. For one thread; others may read the metrics, and `queues`."""

    def __init__(
        self, metrics: CeleryMetrics, refuse: Callable[[str], None], *, most_remembered: int = MOST_REMEMBERED
    ) -> None:
        """`refuse` is told when a label's values are too many: whose."""
        self._metrics = metrics
        self._most_remembered = most_remembered
        self._known: OrderedDict[str, _Task] = OrderedDict()
        self._names = Bounded(MOST_VALUES, lambda: refuse("names"), map(keys.task, keys.STEPS))
        self._queues = Bounded(MOST_VALUES, lambda: refuse("queues"), [keys.DIRECT, *map(keys.queue, keys.STEPS)])
        self._exceptions = Bounded(MOST_VALUES, lambda: refuse("exceptions"))
        self._shown: set[tuple[str, str, str]] = set()

    @property
    def queues(self) -> Iterable[str]:
        """The queues of tasks that were heard of, but for the farm's own."""
        return self._queues.taken

    def heard(self, kind: str, hostname: str, event: Mapping[str, Any]) -> None:
        """Count an event, `task-…`, that a node has sent. Raises ValueError when its form is not that of its kind."""
        uuid, at = _field(event, "uuid", str), _field(event, "timestamp", int, float)
        runtime = _field(event, "runtime", int, float) if kind == "task-succeeded" else 0.0
        task = self._named(uuid, event)
        if kind == "task-sent":
            task = task._replace(queue=self._queue(event.get("queue")) or task.queue, sent_at=at)
        self._remember(uuid, task if kind != "task-started" else task._replace(sent_at=None))
        labels = (task.name, hostname, task.queue)
        if kind != "task-sent":
            self._show(labels)
        if kind == "task-started" and task.sent_at is not None:
            self._metrics.wait.labels(*labels).observe(max(0.0, at - task.sent_at))  # clocks of two machines
        if kind == "task-succeeded":
            self._metrics.runtime.labels(*labels).observe(max(0.0, runtime))
        why = (self._exceptions(exception_of(event.get("exception"))),) if kind == "task-failed" else ()
        self._metrics.counters[kind].labels(*labels, *why).inc()

    def forget(self, hostname: str) -> None:
        """Have no more series of a node."""
        for metric in (*self._metrics.counters.values(), self._metrics.runtime, self._metrics.wait):
            metric.remove_by_labels({"hostname": hostname})
        self._shown = {labels for labels in self._shown if labels[1] != hostname}

    def _named(self, uuid: str, event: Mapping[str, Any]) -> _Task:
        """The task as it is known: by this event, those before, or the form of the farm's own ids, `JOB.STEP`."""
        task = self._known.get(uuid)
        if task is None:
            job, _, step = uuid.rpartition(".")
            is_ours = bool(job) and step in keys.STEPS
            task = _Task(keys.task(step), keys.queue(step)) if is_ours else _Task(UNKNOWN, UNKNOWN)
        name = event.get("name")
        return task._replace(name=self._names(name)) if isinstance(name, str) else task

    def _queue(self, queue: object) -> str:
        if not isinstance(queue, str):
            return ""
        return keys.DIRECT if queue.startswith(keys.direct("")) else self._queues(queue)

    def _remember(self, uuid: str, task: _Task) -> None:
        """What was not heard of for the longest is forgotten."""
        self._known[uuid] = task
        self._known.move_to_end(uuid)
        if len(self._known) > self._most_remembered:
            self._known.popitem(last=False)

    def _show(self, labels: tuple[str, str, str]) -> None:
        """Have all counters but that of publishing, which is others', from the first event on: a rate needs a zero."""
        if labels not in self._shown:
            self._shown.add(labels)
            for kind, counter in self._metrics.counters.items():
                if kind != "task-sent":
                    counter.labels(*labels, *([""] if kind == "task-failed" else []))


def exception_of(told: object) -> str:
    """The class of an exception that an event tells as Python prints it."""
    found = _EXCEPTION.match(told) if isinstance(told, str) else None
    return found[1] if found else "UnknownException"


def _field(event: Mapping[str, Any], name: str, *kinds: type) -> Any:
    value = event.get(name)
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise ValueError(f"{name} is {value!r:.80}")
    return value
