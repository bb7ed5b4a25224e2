"""How many threads a step runs on, by how long steps take: fewer while other programs have the cores. Pure.

Threads of a step wait for one another at every product. When another program has one of the cores, all wait for it, and
a step on one thread is the faster one. A step's time is compared with the least that one of its size has taken of late.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

STRAINED = 1.4
"""Steps take so many times as long as they do at best: then fewer threads are tried."""

BETTER = 0.9
"""What is tried is kept where steps take less than this share of the time."""

TRIAL_STEPS = 8
"""A trial is so many steps."""

LATEST_SHARE = 1 / 16
"""What the latest step counts for in the mean."""

FORGOTTEN = 1.0005
"""The least time of a size grows by this with every step, so that a long run comes to know slower times, too."""

RETRY_S = 4.0
"""Between two trials."""


@dataclass(slots=True)
class Threads:
    """The threads of one engine, `most` where nobody else wants its cores. For one thread."""

    most: int
    clock: Callable[[], float]
    now: int = 0
    _least_s: dict[int, float] = field(default_factory=dict)
    _strain: float = 1.0
    _tried: list[float] = field(default_factory=list)
    _is_trying: bool = False
    _tries_from: float = -math.inf

    def __post_init__(self) -> None:
        self.now = self.most

    def note(self, tokens: int, seconds: float) -> None:
        """Take note of a step that fed so many tokens; `now` is how many threads the next one is to have."""
        if self.most == 1:
            return
        strain = self._strain_of(tokens, seconds)
        if self._is_trying:
            self._try(strain)
            return
        self._strain += LATEST_SHARE * (strain - self._strain)
        is_few = self.now < self.most
        if (is_few or self._strain > STRAINED) and self.clock() >= self._tries_from:
            self._is_trying, self._tried = True, []
            self.now = self.most if is_few else 1

    def _strain_of(self, tokens: int, seconds: float) -> float:
        """How many times as long as the least of its size a step has taken; sizes differ by a factor of two."""
        size = tokens.bit_length()
        least_s = min(self._least_s.get(size, math.inf) * FORGOTTEN, seconds)
        self._least_s[size] = least_s
        return seconds / least_s if least_s > 0 else 1.0

    def _try(self, strain: float) -> None:
        self._tried.append(strain)
        if len(self._tried) < TRIAL_STEPS:
            return
        mean = sum(self._tried) / len(self._tried)
        if mean < BETTER * self._strain:
            self._strain = mean
        else:
            self.now = 1 if self.now == self.most else self.most
        self._is_trying, self._tries_from = False, self.clock() + RETRY_S
