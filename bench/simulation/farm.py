"""A simulated farm as a controller meets it: it is observed, and workers are started and told to go."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from autoscale.observation import Instance, Observation
from bench.simulation import events
from bench.simulation.loads import Load
from bench.simulation.service import Service


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that was ordered, by its number."""

    number: int
    place: int
    ordered_at: float

    @property
    def node(self) -> str:
        return f"worker-{self.number}"


class Farm:
    """A farm under a load, with so many workers from its first second on."""

    def __init__(self, load: Load, service: Service, workers: int, places: int = 32) -> None:
        self._service = service
        self.state = events.fresh(
            load.at, load.work, service.speeds(places), service.tokens_per_s, service.redelivery_s
        )
        self._workers: dict[int, Worker] = {}
        self._ordered = 0
        self.start(workers, after_s=0.0)

    @property
    def now(self) -> float:
        return float(self.state.sums[events.NOW])

    def advance(self, until: float) -> None:
        """Let everything happen that happens until then."""
        events.advance(self.state, until)

    def start(self, count: int, after_s: float | None = None) -> None:
        """Order workers; they serve when they have started."""
        state = self.state
        for place in np.flatnonzero(state.phase == events.NONE)[:count].tolist():
            state.phase[place] = events.STARTING
            state.ready[place] = self.now + (self._service.startup_s if after_s is None else after_s)
            self._workers[place] = Worker(self._ordered, place, self.now)
            self._ordered += 1

    def stop(self, nodes: Iterable[str], grace_s: float = math.inf) -> None:
        """Tell workers to go: they take no more jobs, and are killed if they are not done when the grace ends."""
        state = self.state
        for place in [worker.place for worker in self._present if worker.node in set(nodes)]:
            if state.rows[place] == 0:
                state.phase[place], state.ready[place] = events.NONE, math.inf
            else:
                state.phase[place], state.stops[place] = events.DRAINING, self.now + grace_s

    @property
    def _present(self) -> Sequence[Worker]:
        return [self._workers[place] for place in np.flatnonzero(self.state.phase != events.NONE).tolist()]

    def observed(self) -> Observation:
        """What the broker would tell."""
        counts = self.state.counts.tolist()
        returning = counts[events.BACK] - counts[events.TAKEN_AGAIN]
        phases = self.state.phase.tolist()
        return Observation(
            at=self.now,
            instances=[
                self._instance(place, phase)
                for place, phase in enumerate(phases)
                if phase in (events.SERVING, events.DRAINING)
            ],
            starting=phases.count(events.STARTING),
            ready=counts[events.ARRIVED] - counts[events.BEGUN] + returning,
            delivered=counts[events.SENT_BACK] - counts[events.BACK],
            oldest_s=self._oldest_s(counts),
            arrived=counts[events.ARRIVED],
            steps=counts[events.DONE],
        )

    def _oldest_s(self, counts: Sequence[int]) -> float:
        if counts[events.ARRIVED] == counts[events.BEGUN]:
            return 0.0
        return self.now - float(self.state.arrives[counts[events.BEGUN]])

    def _instance(self, place: int, phase: int) -> Instance:
        worker = self._workers[place]
        return Instance(
            worker.node,
            self._service.slots,
            int(self.state.rows[place]),
            worker.ordered_at,
            is_draining=phase == events.DRAINING,
            tokens=int(events.tokens(self.state, place)),
        )
