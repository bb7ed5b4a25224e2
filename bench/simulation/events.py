"""The farm's events, one after the other, compiled: arrivals, starts and ends of workers, ends of jobs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from bench.simulation.service import Floats

Ints = npt.NDArray[np.int64]

NONE, STARTING, SERVING, DRAINING = range(4)
"""What a worker's place holds."""

ARRIVED, BEGUN, SENT_BACK, BACK, TAKEN_AGAIN, TAKINGS, KILLED, DONE, BUSY = range(9)
"""`counts`: jobs that came; of those, that were taken in their turn; jobs that killed workers held, that of those are
in the queue again, and that were taken again; takings; workers that were killed with jobs; jobs that ended; workers
that have jobs."""

NOW, WAITING_S, RUNNING_S, WORKER_S, SLOT_S = range(5)
"""`sums`: the time, and integrals over it: of jobs that wait and that run, of workers, of slots that take jobs."""


class State(NamedTuple):
    """All that changes, in arrays: of jobs `(J,)`, of workers' places `(W,)`, of their slots `(W, S)`.

    A worker shares its speed among its jobs alike, so it is enough to know how many tokens each of its rows has got
    (`progress`, as of `since`), and at what progress each job ends (`ends`). `back` is a ring of jobs whose workers
    were killed, by the time at which the queue has them again. `done` are a worker's tokens so far, as of `since`;
    `speeds` is the share of its speed that each has while so many workers are busy, `(W + 1,)`.
    """

    arrives: Floats
    work: Floats
    began: Floats
    ended: Floats
    cuts: Ints

    phase: Ints
    ready: Floats
    stops: Floats
    rows: Ints
    progress: Floats
    since: Floats
    next_end: Floats
    taken: Ints
    done: Floats
    jobs: Ints
    ends: Floats

    back: Ints
    back_at: Floats
    counts: Ints
    sums: Floats
    tokens_per_s: Floats
    speeds: Floats
    redelivery_s: float


def fresh(arrives: Floats, work: Floats, speeds: Floats, tokens_per_s: Floats, redelivery_s: float) -> State:
    """A farm without workers, at second 0; `tokens_per_s` are those of one row, by rows, from 0 to all slots.

    `speeds` has a number for each place of a worker, and one more.
    """
    places = len(speeds) - 1
    count, slots = len(arrives), len(tokens_per_s) - 1
    return State(
        arrives,
        work,
        began=np.full(count, np.inf),
        ended=np.full(count, np.inf),
        cuts=np.zeros(count, np.int64),
        phase=np.full(places, NONE),
        ready=np.full(places, np.inf),
        stops=np.full(places, np.inf),
        rows=np.zeros(places, np.int64),
        progress=np.zeros(places),
        since=np.zeros(places),
        next_end=np.full(places, np.inf),
        taken=np.zeros(places, np.int64),
        done=np.zeros(places),
        jobs=np.full((places, slots), -1),
        ends=np.full((places, slots), np.inf),
        back=np.zeros(count + 1, np.int64),
        back_at=np.full(count + 1, np.inf),
        counts=np.zeros(9, np.int64),
        sums=np.zeros(5),
        tokens_per_s=tokens_per_s,
        speeds=speeds,
        redelivery_s=redelivery_s,
    )


def compiled(function: Any) -> Any:
    """The function in machine code, kept beside its source."""
    return njit(cache=True)(function)


@compiled
def advance(s: State, until: float) -> None:
    """Let everything happen that happens until then."""
    while True:
        at, place = _next(s)
        if at > until:
            _pass(s, until)
            return
        _pass(s, at)
        if place >= 0:
            _turn(s, place, at)
        elif s.counts[SENT_BACK] > s.counts[BACK] and _back_at(s) <= at:
            s.counts[BACK] += 1
        else:
            s.counts[ARRIVED] += 1
        _take(s, at)


@compiled
def _next(s: State) -> tuple[float, int]:
    """When something happens next, and at which worker; -1 where it is to the queue."""
    at, place = _back_at(s), -1
    if s.counts[ARRIVED] < len(s.arrives):
        at = min(at, s.arrives[s.counts[ARRIVED]])
    for worker in range(len(s.phase)):
        if s.phase[worker] != NONE:
            event = min(s.next_end[worker], s.stops[worker])
            if s.phase[worker] == STARTING:
                event = min(event, s.ready[worker])
            if event < at:
                at, place = event, worker
    return at, place


@compiled
def _back_at(s: State) -> float:
    """When the queue has the next of the killed workers' jobs."""
    return s.back_at[s.counts[BACK] % len(s.back)] if s.counts[SENT_BACK] > s.counts[BACK] else np.inf


@compiled
def _pass(s: State, at: float) -> None:
    """Let time pass in which nothing happens."""
    span = at - s.sums[NOW]
    running = s.rows.sum()
    waiting = s.counts[ARRIVED] - s.counts[DONE] - running
    s.sums[NOW] = at
    s.sums[WAITING_S] += span * waiting
    s.sums[RUNNING_S] += span * running
    for phase in s.phase:
        s.sums[WORKER_S] += span * (phase != NONE)
        s.sums[SLOT_S] += span * (phase == SERVING) * s.jobs.shape[1]


@compiled
def _turn(s: State, place: int, at: float) -> None:
    """What is due at a worker: it is ready, it is killed, or its next job ends."""
    if s.phase[place] == STARTING and s.ready[place] <= at:
        s.phase[place], s.since[place] = SERVING, at
    elif s.stops[place] <= at:
        _kill(s, place, at)
    else:
        _end(s, place, at)


@compiled
def _end(s: State, place: int, at: float) -> None:
    _work(s, place, at)
    slot = np.argmin(s.ends[place])
    s.progress[place] = s.ends[place, slot]
    s.ended[s.jobs[place, slot]] = at
    s.jobs[place, slot], s.ends[place, slot] = -1, np.inf
    s.counts[DONE] += 1
    _have_rows(s, place, s.rows[place] - 1, at)
    if s.rows[place] == 0 and s.phase[place] == DRAINING:
        _leave(s, place)


@compiled
def _kill(s: State, place: int, at: float) -> None:
    """The worker is gone; the jobs that it held begin anew, somewhere else."""
    s.counts[KILLED] += s.rows[place] > 0
    for slot in range(s.jobs.shape[1]):
        job = s.jobs[place, slot]
        if job >= 0:
            s.cuts[job] += 1
            ring = s.counts[SENT_BACK] % len(s.back)
            s.back[ring], s.back_at[ring] = job, at + s.redelivery_s
            s.counts[SENT_BACK] += 1
    s.jobs[place], s.ends[place] = -1, np.inf
    _have_rows(s, place, 0, at)
    _leave(s, place)


@compiled
def _leave(s: State, place: int) -> None:
    s.phase[place], s.progress[place], s.done[place] = NONE, 0.0, 0.0
    s.ready[place] = s.stops[place] = s.next_end[place] = np.inf


@compiled
def _take(s: State, at: float) -> None:
    """Workers with free slots take what waits, jobs sent back first; who has waited longest takes, as with BRPOP."""
    while s.counts[BACK] > s.counts[TAKEN_AGAIN] or s.counts[ARRIVED] > s.counts[BEGUN]:
        place = -1
        for worker in range(len(s.phase)):
            free = s.phase[worker] == SERVING and s.rows[worker] < s.jobs.shape[1]
            if free and (place < 0 or s.taken[worker] < s.taken[place]):
                place = worker
        if place < 0:
            return
        _begin(s, place, at, _taken(s))


@compiled
def _taken(s: State) -> Any:
    """The job that is next in the queue, out of it."""
    if s.counts[BACK] > s.counts[TAKEN_AGAIN]:
        s.counts[TAKEN_AGAIN] += 1
        return s.back[(s.counts[TAKEN_AGAIN] - 1) % len(s.back)]
    s.counts[BEGUN] += 1
    return s.counts[BEGUN] - 1


@compiled
def _begin(s: State, place: int, at: float, job: int) -> None:
    _work(s, place, at)
    slot = np.argmin(s.jobs[place])
    s.jobs[place, slot], s.ends[place, slot] = job, s.progress[place] + s.work[job]
    s.began[job] = min(s.began[job], at)
    s.counts[TAKINGS] += 1
    s.taken[place] = s.counts[TAKINGS]
    _have_rows(s, place, s.rows[place] + 1, at)


@compiled
def _have_rows(s: State, place: int, rows: int, at: float) -> None:
    """Have a worker with so many jobs from now on: another one that is busy is felt by all that share its machine."""
    busy = s.counts[BUSY] + (rows > 0) - (s.rows[place] > 0)
    if s.speeds[busy] != s.speeds[s.counts[BUSY]]:
        for other in range(len(s.phase)):
            _work(s, other, at)
        s.rows[place], s.counts[BUSY] = rows, busy
        for other in range(len(s.phase)):
            _look_ahead(s, other)
    else:
        _work(s, place, at)
        s.rows[place], s.counts[BUSY] = rows, busy
        _look_ahead(s, place)


@compiled
def _work(s: State, place: int, at: float) -> None:
    """Bring what the worker's rows have got up to now."""
    rows = s.rows[place]
    got = (at - s.since[place]) * s.tokens_per_s[rows] * s.speeds[s.counts[BUSY]]
    s.progress[place] += got
    s.done[place] += got * rows
    s.since[place] = at


@compiled
def _look_ahead(s: State, place: int) -> None:
    """When the worker's next job ends, if nothing else happens."""
    rows = s.rows[place]
    left = s.ends[place].min() - s.progress[place]
    speed = s.tokens_per_s[rows] * s.speeds[s.counts[BUSY]]
    s.next_end[place] = s.since[place] + max(0.0, left) / speed if rows > 0 else np.inf


@compiled
def tokens(s: State, place: int) -> float:
    """What a worker has made so far."""
    rows = s.rows[place]
    since = s.sums[NOW] - s.since[place]
    return float(s.done[place] + since * s.tokens_per_s[rows] * s.speeds[s.counts[BUSY]] * rows)
