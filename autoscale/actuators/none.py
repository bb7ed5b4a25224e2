"""Nobody starts or drains workers: what is decided is only told."""

from __future__ import annotations

from collections.abc import Sequence

from autoscale.actuators import Actuator
from autoscale.observation import Instance
from echo_tasks.settings import Settings


class Nobody(Actuator):
    """An actuator that never acts."""

    def starting(self, live: Sequence[Instance]) -> int:
        return 0

    def start(self, count: int) -> None:
        """Nobody does."""

    def drain(self, instances: Sequence[Instance]) -> None:
        """Nobody does."""


def make(settings: Settings, registry: object) -> Nobody:
    """The actuator that needs no settings."""
    return Nobody()
