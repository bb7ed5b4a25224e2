"""A load, played through a farm that a scaler scales, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autoscale.observation import Observation
from bench.simulation import events
from bench.simulation.farm import Farm
from bench.simulation.loads import Load
from bench.simulation.service import Floats, Service

TICK_S = 2.0
"""How often the farm is looked at."""

SLO_S = 2.0
"""A job that has not begun by then has missed its objective; one whose worker was killed, too."""

REVERSAL_S = 300.0
"""Fewer so soon after more is a reversal."""


class Scaler(Protocol):
    """Sees the farm at every tick, and changes it; `grace_s` is what those that it ends have to finish."""

    name: str
    grace_s: float

    def change(self, seen: Observation) -> int | Sequence[str]:
        """How many to start, or whom to end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a load.

    `waits_s` are from arrival to the first beginning, by job; `unmet` is the share of all the jobs' time that they
    waited; `goodput` the share of jobs that met the objective; `worker_s` counts workers from order to end; `killed`
    those ended with jobs that they had begun; `to_capacity_s` the longest time in which there were more jobs than
    slots that serve. `trail` has a row a tick: second, workers, slots that serve, jobs that run or wait.
    """

    waits_s: Floats
    unmet: float
    goodput: float
    worker_s: float
    changes: int
    reversals: int
    killed: int
    to_capacity_s: float
    trail: Floats

    @property
    def p50_s(self) -> float:
        return float(np.percentile(self.waits_s, 50))

    @property
    def p99_s(self) -> float:
        return float(np.percentile(self.waits_s, 99))


class _Changes:
    """How often the farm grew and shrank, and how often the one soon after the other."""

    def __init__(self) -> None:
        self.count = self.reversals = 0
        self._grown_at = -math.inf

    def grew(self, at: float) -> None:
        self.count += 1
        self._grown_at = at

    def shrank(self, at: float) -> None:
        self.count += 1
        self.reversals += at - self._grown_at < REVERSAL_S
        self._grown_at = -math.inf


def play(load: Load, service: Service, scaler: Scaler, workers: int = 1) -> Outcome:
    """Play a load to its end, beginning with so many workers; jobs that are there at the end count as they are."""
    farm, changes, trail = Farm(load, service, workers), _Changes(), []
    for at in np.arange(0.0, load.span_s, TICK_S).tolist():
        farm.advance(at)
        seen = farm.observed()
        slots = service.slots * len(seen.serving)
        trail.append((at, len(seen.instances) + (seen.starting or 0), slots, seen.demand))
        change = scaler.change(seen)
        if isinstance(change, int):
            if change:
                farm.start(change)
                changes.grew(at)
        elif change:
            farm.stop(change, scaler.grace_s)
            changes.shrank(at)
    farm.advance(load.span_s)
    return _outcome(farm.state, changes, np.array(trail))


def _outcome(state: events.State, changes: _Changes, trail: Floats) -> Outcome:
    came, now = int(state.counts[events.ARRIVED]), float(state.sums[events.NOW])
    waits = np.minimum(state.began[:came], now) - state.arrives[:came]
    waiting, running = float(state.sums[events.WAITING_S]), float(state.sums[events.RUNNING_S])
    return Outcome(
        waits_s=waits,
        unmet=waiting / (waiting + running),
        goodput=float(((waits <= SLO_S) & (state.cuts[:came] == 0)).mean()),
        worker_s=float(state.sums[events.WORKER_S]),
        changes=changes.count,
        reversals=changes.reversals,
        killed=int(state.counts[events.KILLED]),
        to_capacity_s=_longest((trail[:, 3] > trail[:, 2]).tolist()) * TICK_S,
        trail=trail,
    )


def _longest(flags: Sequence[bool]) -> int:
    """The length of the longest run of true ones."""
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest
