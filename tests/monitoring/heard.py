"""Events as Celery sends them, and what was made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from echo_tasks.telemetry.celery import CeleryMetrics
from echo_tasks.telemetry.exporter import ExporterMetrics
from monitoring.exporter.hearing import Hearing

WORKER, CLIENT = "worker1@host", "gen7@host"


class Ears:
    """A hearing with clocks of its own, and the registry that its metrics are in."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.own = ExporterMetrics(self.registry)
        self.now = 100.0
        celery = CeleryMetrics(self.registry)
        self.hearing = Hearing(celery, self.own, clock=lambda: self.now, wall_clock=lambda: 1e9 + self.now)

    def hear(self, kind: str, **fields: Any) -> None:
        """One event, of the worker or of a client, with all that its kind has unless told otherwise."""
        self.hearing.hear(an_event(kind, **fields))

    def value(self, metric: str, /, **labels: str) -> float | None:
        """A sample's value; None where there is no such."""
        return self.registry.get_sample_value(metric, labels)

    def refused(self) -> dict[str, float]:
        """How many were refused, by reason."""
        found = samples([self.own.refused], "echo_exporter_events_refused_total")
        return {labels["reason"]: value for labels, value in found}


def an_event(kind: str, **fields: Any) -> dict[str, Any]:
    """An event as Celery 5 sends it."""
    host = CLIENT if kind == "task-sent" else WORKER
    plain: dict[str, Any] = {"type": kind, "hostname": host, "timestamp": 50.0, "clock": 1, "utcoffset": 0, "pid": 7}
    if kind.startswith("task-"):
        plain["uuid"] = "j.memory"
    if kind in {"task-sent", "task-received"}:
        plain["name"] = "echo.memory"
    if kind == "task-sent":
        plain["queue"] = "echo.memory"
    if kind == "task-succeeded":
        plain |= {"result": "None", "runtime": 0.5}
    if kind == "worker-heartbeat":
        plain |= {"freq": 2.0, "active": 3, "processed": 9}
    return plain | fields


def samples(collectors: Iterable[Collector], name: str) -> list[tuple[dict[str, str], float]]:
    """Labels and values of all samples of a name."""
    metrics = (metric for collector in collectors for metric in collector.collect())
    return [(sample.labels, sample.value) for metric in metrics for sample in metric.samples if sample.name == name]
