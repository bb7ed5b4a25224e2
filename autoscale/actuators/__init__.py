"""What starts and drains workers, by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from autoscale.observation import Instance, Room


class Actuator(ABC):
    """Starts workers and drains them. Every method raises ActuatorError, and may have half succeeded.

    Nothing is assumed: the next observation tells what came of it.
    """

    @abstractmethod
    def starting(self, live: Sequence[Instance]) -> int | None:
        """Instances that exist or are being made and have not announced themselves; None where that is unknown."""

    def room(self, live: Sequence[Instance], starting: int) -> Room | None:
        """How many instances the machines carry, on which these live and so many start; None where nobody can tell."""
        return None

    @abstractmethod
    def start(self, count: int) -> None:
        """Have so many more instances; returns without waiting until they serve."""

    @abstractmethod
    def drain(self, instances: Sequence[Instance]) -> None:
        """Have these take no new work, finish what they run, and go; returns without waiting."""


def host(node: str) -> str:
    """What a worker's machine, container or pod calls itself, of the worker's node name."""
    return node.partition("@")[2]
