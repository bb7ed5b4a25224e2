"""Workers on this machine: their crew has as many as a file says, and a drained one leaves it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from autoscale.actuators import Actuator, carrying
from autoscale.actuators.assembly import Drains
from autoscale.observation import Instance, Room
from echo_tasks import machine
from echo_tasks.errors import ActuatorError, BrokerUnavailable
from echo_tasks.local.roster import WORKERS, Roster
from echo_tasks.settings import Settings


class Processes(Actuator):
    """The members of one crew. Workers that were started by hand count, and are drained; they are nobody's to start."""

    def __init__(self, roster: Roster, registry: Drains, threads: int = 1) -> None:
        """`threads` are those of a worker, as long as none has told its own."""
        self._roster = roster
        self._registry = registry
        self._threads = threads

    def starting(self, live: Sequence[Instance]) -> int | None:
        """Of those that the crew is to have, the ones that have not said a word.

        Whoever drains, by whose wish ever, is released from the crew first: its end is nobody's to wait for.
        """
        members = [instance for instance in live if self._roster.has(instance.node)]
        with self._crewed():
            for instance in members:
                if instance.is_draining:
                    self._roster.release(instance.node)
            wanted = self._roster.wanted()
        if wanted is None:
            return None
        return max(0, wanted.count - sum(instance.node not in wanted.leaving for instance in members))

    def room(self, live: Sequence[Instance], starting: int) -> Room:
        """All workers of this machine count, whoever started them."""
        here = [instance for instance in live if not instance.is_draining and self._is_here(instance)]
        room = carrying.room(machine.cores(), machine.memory(), here, starting, self._threads)
        with self._crewed():
            wanted = self._roster.wanted()
        if wanted is not None and 0 < wanted.most < room.most:
            return Room(wanted.most, f"memory ran out with {wanted.most + 1}")
        return room

    def start(self, count: int) -> None:
        with self._crewed():
            self._roster.change(count)

    def drain(self, instances: Sequence[Instance]) -> None:
        for instance in instances:
            try:
                self._registry.drain(instance.node)
            except BrokerUnavailable as error:
                raise ActuatorError(f"{instance.node} was not told to drain: {error}") from error

    def _is_here(self, instance: Instance) -> bool:
        return self._roster.has(instance.node) or (bool(instance.machine) and instance.machine == machine.identity())

    @contextmanager
    def _crewed(self) -> Iterator[None]:
        """Raises ActuatorError unless there is a crew, and its file can be changed: who reads it starts somebody."""
        try:
            if not self._roster.is_manned():
                raise ActuatorError("no crew of workers runs here (./quick-start.sh start, or honcho start worker)")
            yield
        except OSError as error:
            raise ActuatorError(f"the crew's file: {error}") from error


def make(settings: Settings, registry: Drains) -> Processes:
    """The crew of the farm whose folder the settings name."""
    return Processes(Roster(WORKERS, settings), registry, settings.echo_threads or 1)
