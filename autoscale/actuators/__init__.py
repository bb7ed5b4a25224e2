"""What starts and drains workers, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from autoscale.observation import Instance


class Actuator(Protocol):
    """Starts workers and drains them. Every method raises ActuatorError, and may have half succeeded.

    Nothing is assumed: the next observation tells what came of it.
    """

    def starting(self, live: Sequence[Instance]) -> int | None:
        """Instances that exist or are being made and have not announced themselves; None where that is unknown."""

    def start(self, count: int) -> None:
        """Have so many more instances; returns without waiting until they serve."""

    def drain(self, instances: Sequence[Instance]) -> None:
        """Have these take no new work, finish what they run, and go; returns without waiting."""


def host(node: str) -> str:
    """What a worker's machine, container or pod calls itself, of the worker's node name."""
    return node.partition("@")[2]
