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


class Scaler(Protocol):
    """Decides about the size of a farm at every observation; `grace_s` is what those that it ends have to finish."""

    name: str
    grace_s: float

    def change(self, seen: Observation) -> int | Sequence[str]:
        """How many to start, or whom to end."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a load. Shares are of 1, times in seconds; `trail` has a row of (second, workers, demand) a tick."""

    waits: Floats
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
        return float(np.percentile(self.waits, 50))

    @property
    def p99_s(self) -> float:
        return float(np.percentile(self.waits, 99))


REVERSAL_S = 300.0


def play(load: Load, service: Service, scaler: Scaler, workers: int = 1, tick_s: float = 2.0, slo_s: float = 2.0) -> Outcome:
    """Play it to the end of the load; the jobs that are there then count as they are."""
    farm = Farm(load, service, workers)
    sizes, last_up, reversals, changes = [], -math.inf, 0, 0
    for at in np.arange(0.0, load.span_s + tick_s, tick_s).tolist():
        farm.advance(at)
        seen = farm.observed()
        sizes.append((at, len(seen.instances) + (seen.starting or 0), seen.demand))
        change = scaler.change(seen)
        if isinstance(change, int):
            farm.start(change)
            changes += change > 0
            last_up = at if change > 0 else last_up
        elif change:
            farm.stop(change, scaler.grace_s)
            changes += 1
            reversals += at - last_up <= REVERSAL_S
            last_up = -math.inf
    return _outcome(farm.state, np.array(sizes), changes, reversals, slo_s, load.span_s)


def _outcome(state, trail, changes, reversals, slo_s, span_s):
    now = state.sums[events.NOW]
    came = state.counts[events.ARRIVED]
    waits = np.minimum(state.began[:came], now) - state.arrives[:came]
    met = (waits <= slo_s) & (state.cuts[:came] == 0)
    waiting, running = state.sums[events.WAITING_S], state.sums[events.RUNNING_S]
    return Outcome(
        waits=waits, unmet=float(waiting / (waiting + running)), goodput=float(met.mean()),
        worker_s=float(state.sums[events.WORKER_S]), changes=changes, reversals=reversals, killed=int(state.counts[events.KILLED]),
        to_capacity_s=0.0, trail=trail)
