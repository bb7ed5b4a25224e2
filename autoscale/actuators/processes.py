"""Workers on this machine: their crew has as many as a file says, and a drained one leaves it."""

from __future__ import annotations

from collections.abc import Sequence

from autoscale.actuators.assembly import Drains
from autoscale.observation import Instance
from echo_tasks.errors import ActuatorError, BrokerUnavailable
from echo_tasks.local.roster import WORKERS, Roster
from echo_tasks.settings import Settings


class Processes:
    """The members of one crew. Workers that were started by hand count, and are drained; they are nobody's to start."""

    def __init__(self, roster: Roster, registry: Drains) -> None:
        self._roster = roster
        self._registry = registry

    def starting(self, live: Sequence[Instance]) -> int | None:
        """Of those that the crew is to have, the ones that have not said a word."""
        self._check_manned()
        try:
            wanted = self._roster.wanted()
        except OSError as error:
            raise ActuatorError(f"the crew's file cannot be read: {error}") from error
        if wanted is None:
            return None
        return max(0, wanted - sum(self._roster.has(instance.node) for instance in live))

    def start(self, count: int) -> None:
        self._check_manned()
        try:
            self._roster.change(count)
        except OSError as error:
            raise ActuatorError(f"the crew's file cannot be written: {error}") from error

    def drain(self, instances: Sequence[Instance]) -> None:
        for instance in instances:
            try:
                self._registry.drain(instance.node)
            except BrokerUnavailable as error:
                raise ActuatorError(f"{instance.node} was not told to drain: {error}") from error

    def _check_manned(self) -> None:
        """Raises ActuatorError unless there is a crew: a number that nobody reads starts nothing."""
        try:
            is_manned = self._roster.is_manned()
        except OSError as error:
            raise ActuatorError(f"the crew's files cannot be read: {error}") from error
        if not is_manned:
            raise ActuatorError("no crew of workers runs in this folder (python -m echo_tasks.local.crew)")


def make(settings: Settings, registry: Drains) -> Processes:
    """The crew of the farm whose folder the settings name."""
    return Processes(Roster(WORKERS, settings), registry)
