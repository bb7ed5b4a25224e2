"""The registry, as far as actuators see it, and workers as the controller sees them."""

from __future__ import annotations

from autoscale.observation import Instance
from echo_tasks.errors import BrokerUnavailable


class Draining:
    """Notes who is drained."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.is_away = False
        self.is_live = False

    def drain(self, node: str) -> bool:
        if self.is_away:
            raise BrokerUnavailable("the broker does not answer")
        self.told.append(node)
        return self.is_live


def on(host: str) -> Instance:
    """The worker of a machine."""
    return Instance(f"celery@{host}", slots=8, busy=0, started_at=0)
