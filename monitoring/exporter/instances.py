"""The live workers, by the registry. One whose record is gone is in none of these any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import Metric

from echo_tasks.messages import WorkerRecord
from echo_tasks.registry import serves
from echo_tasks.telemetry import farm
from monitoring.exporter.families import gauge, gauges


def families(records: Sequence[WorkerRecord]) -> Iterator[Metric]:
    """The metrics of the workers that have these records."""
    yield gauge(farm.INSTANCES, len(records))
    yield gauge(farm.HEALTHY, sum(map(serves, records)))
    yield gauges(farm.WORKER_SLOTS, "node", {one.node: one.slots for one in records})
    yield gauges(farm.WORKER_BUSY, "node", {one.node: one.busy for one in records})
    yield gauges(farm.WORKER_DRAINING, "node", {one.node: one.draining for one in records})
