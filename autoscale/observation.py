"""What a decision is made of: the farm as the broker knows it at one moment, by the broker's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instance:
    """A live worker: one whose heartbeat is fresh. `busy` are the steps that it holds leases on, by the ledger.

    `tokens` are those that it has generated so far. `machine` and `model` are told apart from others. `threads` it has
    while nobody takes its cores; of memory it holds `memory_bytes`, and under a full load `memory_most_bytes`.
    """

    node: str
    slots: int
    busy: int
    started_at: float
    is_draining: bool = False
    tokens: int = 0
    machine: str = ""
    model: str = ""
    threads: int = 1
    memory_bytes: int = 0
    memory_most_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """How many instances the machines carry at most, and what the bound is, in numbers: `2 of 2 cores`."""

    most: int
    bound: str


@dataclass(frozen=True, slots=True)
class Observation:
    """The farm at a moment; times are seconds of the broker's clock.

    `starting`: instances that were asked for and have not announced themselves; None where that, or more, is unknown.
    `ready`: messages that wait, over all queues and priorities. `delivered`: messages that workers have taken and not
    begun. `oldest_s`: how long the oldest of the waiting has waited. `arrived` jobs were accepted so far, and `steps`
    have ended; both only grow. `room`: None where nothing is known of the machines.
    """

    at: float
    instances: Sequence[Instance]
    starting: int | None
    ready: int
    delivered: int
    oldest_s: float
    arrived: int
    steps: int = 0
    room: Room | None = None

    @property
    def serving(self) -> Sequence[Instance]:
        """The instances that take new work."""
        return [instance for instance in self.instances if not instance.is_draining]

    @property
    def demand(self) -> int:
        """Steps that are run, delivered or waiting."""
        return sum(instance.busy for instance in self.instances) + self.delivered + self.ready
