"""Which worker a step is sent to: pure functions of what is known of the workers.

A step goes to a worker's own queue only if that worker lives, does not drain, serves the step, and has room; where
there is none, and by the strategy `shared`, it goes to the queue that all workers share.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from echo_tasks import keys
from echo_tasks.messages import WorkerRecord

SHARED = "shared"

MOST_OF_MEAN = 1.25
"""The load, as a share of the mean one, up to which affinity adds to a worker's."""

CPU_SHARE, MEMORY_SHARE, RESPONSE_SHARE = 0.4, 0.3, 0.3
"""What of a worker's weight is decided by what."""

LEAST_WEIGHT = 0.1
"""Of a worker, where the best possible has 1: it is never left out altogether, or nobody would see it recover."""

_LEAST_CPU, _LEAST_MEMORY_BYTES, _LEAST_RESPONSE_S = 0.05, 1 << 20, 0.001
"""Below these, workers are equally good."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker's record, how many steps sent there it cannot know of, and how many were sent lately."""

    worker: WorkerRecord
    sent: int = 0
    lately: float = 0.0
    """The older a step, the less it counts."""

    @property
    def reported(self) -> int:
        """Steps that the worker had, by its own word."""
        return self.worker.busy + self.worker.waiting

    @property
    def connections(self) -> int:
        """Steps that it has by now, as far as the chooser can know."""
        return self.reported + self.sent

    @property
    def room(self) -> int:
        """Steps that it can take at once."""
        return self.worker.slots - self.connections

    @property
    def load(self) -> int:
        """Steps that it has at a time. Where others send, too, what was sent there lately is among what it reports."""
        return max(self.reported, self.sent)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a strategy may go by: the session, how many of its steps are sent together, a count, and a random number.

    `here` is the worker that has just run the job's other steps, if there were any.
    """

    session_id: str = ""
    steps: int = 1
    here: str | None = None
    turn: int = 0
    chance: float = 0.0
    """From 0 to 1."""


def choose(strategy: str, workers: Sequence[Candidate], step: str, asked: Asked) -> str | None:
    """The worker to whose own queue a step goes; None: to the shared one. Raises KeyError for an unknown strategy."""
    if strategy == SHARED:
        return None
    serving = [one for one in workers if _serves(one.worker, step)]
    free = [one for one in serving if one.room > 0]
    return STRATEGIES[strategy](free, serving, asked) if free else None


def _serves(worker: WorkerRecord, step: str) -> bool:
    return not worker.draining and {keys.queue(step), keys.direct(worker.node)} <= set(worker.queues)


def _round_robin(free: Sequence[Candidate], _: Sequence[Candidate], asked: Asked) -> str:
    return sorted(one.worker.node for one in free)[asked.turn % len(free)]


def _least_connections(free: Sequence[Candidate], _: Sequence[Candidate], asked: Asked) -> str:
    return min(free, key=lambda one: (one.connections, one.worker.node)).worker.node


def _weighted(free: Sequence[Candidate], _: Sequence[Candidate], asked: Asked) -> str:
    shares = weights([one.worker for one in free])
    left = asked.chance * sum(shares)
    for one, share in zip(free, shares, strict=True):
        left -= share
        if left < 0:
            return one.worker.node
    return free[-1].worker.node


def weights(workers: Sequence[WorkerRecord]) -> list[float]:
    """How much each is worth: in CPU, memory and response time, the best one's figure as a share of its own."""
    cpu = _goodness([max(one.cpu, _LEAST_CPU) for one in workers])
    memory = _goodness([max(one.memory_bytes, _LEAST_MEMORY_BYTES) for one in workers])
    response = _goodness([max(one.mean_service_s, _LEAST_RESPONSE_S) for one in workers])
    return [
        max(LEAST_WEIGHT, CPU_SHARE * c + MEMORY_SHARE * m + RESPONSE_SHARE * r)
        for c, m, r in zip(cpu, memory, response, strict=True)
    ]


def _goodness(figures: Sequence[float]) -> list[float]:
    return [min(figures) / figure for figure in figures]


def _affinity(free: Sequence[Candidate], serving: Sequence[Candidate], asked: Asked) -> str | None:
    """Where the job's other steps were run; else the first in the session's order that has room for all of its steps.

    One that has more than its share, at the moment and lately too, is passed over: a session that is sent elsewhere for
    every chance crowd finds its state nowhere. (Thaler and Ravishankar's rendezvous hashing; Mirrokni, Thorup and
    Zadimoghaddam's bounded loads.)
    """
    if asked.here in {one.worker.node for one in free}:
        return asked.here
    now, lately = [one.load for one in serving], [one.lately for one in serving]
    able = [
        one.worker.node
        for one in free
        if one.room >= min(asked.steps, one.worker.slots)
        and (_is_fair(one.load, now, asked.steps) or _is_fair(one.lately, lately, asked.steps))
    ]
    return max(able, key=lambda node: _rank(asked.session_id, node), default=None)


def _is_fair(load: float, loads: Sequence[float], more: int) -> bool:
    """Whether a load and some more is within the bound; the least one always is."""
    bound = math.ceil(MOST_OF_MEAN * (sum(loads) + more) / len(loads))
    return load + more <= max(bound, min(loads) + more)


def _rank(session_id: str, node: str) -> bytes:
    return hashlib.blake2b(f"{session_id}\n{node}".encode(), digest_size=8).digest()


STRATEGIES: Mapping[str, Callable[[Sequence[Candidate], Sequence[Candidate], Asked], str | None]] = {
    "round_robin": _round_robin,
    "least_connections": _least_connections,
    "weighted": _weighted,
    "affinity": _affinity,
}
"""By name; each is given the workers with room, of which there is one, and all that serve the step."""
