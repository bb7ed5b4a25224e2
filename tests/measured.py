"""What this process's metrics have counted since a moment."""

from __future__ import annotations

from prometheus_client import REGISTRY


class Since:
    """How much samples have grown since this was made: `since(name, outcome="stop")`."""

    def __init__(self) -> None:
        self._before = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        now = REGISTRY.get_sample_value(name, labels) or 0.0
        return now - self._before.get((name, *sorted(labels.items())), 0.0)
