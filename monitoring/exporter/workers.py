"""Celery's workers as they are heard: who is there, who fell silent, and who is forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from echo_tasks.telemetry.celery import CeleryMetrics
from monitoring.exporter.labels import Bounded

MOST_NODES = 1024

SILENT_S = 10.0
"""A worker that has not been heard for so long, or for three of its heartbeats, is down."""

GONE_S = 1200.0
"""A node that has not been heard for so long has no series any more: alerts on one that is down have gone off."""


@dataclass(slots=True)
class _Node:
    heard_at: float
    silent_s: float = SILENT_S
    is_up: bool = False


class Workers:
    """Follows nodes by their events. Moments are of one clock, in seconds. For one thread."""

    def __init__(self, metrics: CeleryMetrics, refuse: Callable[[str], None], forget: Callable[[str], None]) -> None:
        """`forget` is told of a node that is gone for good."""
        self._metrics = metrics
        self._forget = forget
        self._nodes: dict[str, _Node] = {}
        self._names = Bounded(MOST_NODES, lambda: refuse("hostnames"))

    def named(self, hostname: str, now: float) -> str:
        """The label of a node, which was just heard: a worker, or a client that publishes."""
        name = self._names(hostname)
        self._nodes.setdefault(name, _Node(now)).heard_at = now
        return name

    def heard(self, kind: str, name: str, event: Mapping[str, Any]) -> None:
        """Take note of an event, `worker-…`, of a node by its label."""
        node = self._nodes[name]
        if kind == "worker-offline":
            node.is_up = False
            for gauge in (self._metrics.up, self._metrics.active):  # it said goodbye: nothing is wrong
                gauge.remove(name)
            return
        node.is_up = True
        if isinstance(every_s := event.get("freq"), int | float):
            node.silent_s = max(SILENT_S, 3 * every_s)
        self._metrics.up.labels(name).set(1)
        if isinstance(active := event.get("active"), int | float):
            self._metrics.active.labels(name).set(active)

    def listening_again(self, now: float) -> None:
        """Nobody could be heard until now, which is nobody's silence."""
        for node in self._nodes.values():
            node.heard_at = now

    def look(self, now: float) -> None:
        """Find those who have fallen silent, and forget those who have for long."""
        for name, node in tuple(self._nodes.items()):
            silent_s = now - node.heard_at
            if node.is_up and silent_s > node.silent_s:
                node.is_up = False
                self._metrics.up.labels(name).set(0)
                self._metrics.active.labels(name).set(0)
            if silent_s > GONE_S:
                del self._nodes[name]
                for gauge in (self._metrics.up, self._metrics.active):
                    gauge.remove(name)
                self._names.let_go(name)
                self._forget(name)
