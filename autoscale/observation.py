"""What a decision is made of: the farm as the broker knows it at one moment, by the broker's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Instance:
    """A live worker: one whose heartbeat is fresh. `busy` are the steps that it holds leases on, by the ledger."""

    node: str
    slots: int
    busy: int
    started_at: float
    is_draining: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """The farm at a moment; times are seconds of the broker's clock.

    `starting`: instances that were asked for and have not announced themselves; None where that, or more, is unknown.
    `ready`: messages that wait, over all queues and priorities. `delivered`: messages that workers have taken and not
    begun. `oldest_s`: how long the oldest of the waiting has waited. `arrived`: jobs accepted so far, a count that only
    grows.
    """

    at: float
    instances: Sequence[Instance]
    starting: int | None
    ready: int
    delivered: int
    oldest_s: float
    arrived: int

    @property
    def serving(self) -> Sequence[Instance]:
        """The instances that take new work."""
        return [instance for instance in self.instances if not instance.is_draining]

    @property
    def demand(self) -> int:
        """Steps that are run, delivered or waiting."""
        return sum(instance.busy for instance in self.instances) + self.delivered + self.ready
