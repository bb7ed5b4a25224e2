"""How many slots a worker's load wants: pure functions of what its slots were used for."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many slots there may be, and the occupancies, of 0 to 1, at which there should be more or fewer."""

    least: int
    most: int
    scale_up: float
    scale_down: float


class Occupancy:
    """How many slots were busy in the latest `window_s` seconds, of a count of busy seconds that is looked at."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._looks: deque[tuple[float, float]] = deque()

    def look(self, at_s: float, busy_s: float) -> None:
        """Note the count of busy seconds at a monotonic time."""
        self._looks.append((at_s, busy_s))
        while len(self._looks) > 2 and self._looks[1][0] <= at_s - self._window_s:
            self._looks.popleft()

    def restart(self) -> None:
        """Forget all but the last look: from now on there is another number of slots."""
        self._looks = deque([*self._looks][-1:])

    @property
    def latest(self) -> float:
        """Busy slots, on average between the last two looks."""
        return _mean(*[*self._looks][-2:]) if len(self._looks) > 1 else 0.0

    @property
    def mean(self) -> float:
        """Busy slots, on average over the window."""
        return _mean(self._looks[0], self._looks[-1]) if len(self._looks) > 1 else 0.0

    @property
    def peak(self) -> float:
        """The most of the averages between any two looks in the window."""
        return max((_mean(one, next_one) for one, next_one in pairwise(self._looks)), default=0.0)

    @property
    def is_whole(self) -> bool:
        """Whether the number of slots has been the same for all of the window."""
        return bool(self._looks) and self._looks[-1][0] - self._looks[0][0] >= self._window_s


def grown(slots: int, busy: float, waiting: int, bounds: Bounds) -> int:
    """As many as bring the occupancy down to the upper threshold, in one jump, or as there are."""
    if busy < bounds.scale_up * slots:
        return slots
    return max(slots, min(bounds.most, math.ceil((busy + waiting) / bounds.scale_up)))


def shrunk(slots: int, occupancy: Occupancy, bounds: Bounds) -> int:
    """A quarter fewer after a window of low occupancy, though as many as its peak wanted; or as many as there are.

    So a worker that is done comes down from 64 to 4 in eleven windows, and no step calls for the next jump.
    """
    if not occupancy.is_whole or occupancy.mean >= bounds.scale_down * slots:
        return slots
    wanted = math.ceil(occupancy.peak / bounds.scale_up)
    return min(slots, max(bounds.least, slots - max(1, slots // 4), wanted))


def within(bounds: Bounds, busy: float, token_s: float, target_s: float | None) -> Bounds:
    """The bounds with as many slots at most as keep to the target, by what a token takes with so many busy.

    A step takes longer with each row, though by less than its share: so the way there is one of several looks.
    """
    if target_s is None or token_s <= 0 or busy < 1:
        return bounds
    return replace(bounds, most=max(bounds.least, min(bounds.most, int(busy * target_s / token_s))))


def _mean(one: tuple[float, float], other: tuple[float, float]) -> float:
    seconds = other[0] - one[0]
    return (other[1] - one[1]) / seconds if seconds > 0 else 0.0
