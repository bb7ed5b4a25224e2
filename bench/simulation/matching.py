"""Our decision at another's price: one dial is turned until both spend the same worker-seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt

from autoscale.decision import Policy
from bench.simulation.play import Outcome

TOLERANCE = 0.02
CLOSE = 0.005
NEAR = 0.05
"""So near to the price, what lies between two positions of the grid is looked at."""

FULL, HURRY = 0.8, 12
"""From this target on the dial moves the times as well: a farm that is to be cheaper still has to let go sooner."""


def dialled(target: float, least: int, most: int) -> Policy:
    """The policy at a position of the dial, which is the target utilisation; all else follows from it.

    It grows above four thirds of the target, as by default, and may shrink below the target itself.
    """
    hurry = min(1.0, FULL / target) ** HURRY
    return Policy(
        scale_up=target * 4 / 3,
        scale_down=target,
        target=target,
        least=least,
        most=most,
        interval_s=max(2.0, 30.0 * hurry),
        stabilisation_s=max(4.0, 300.0 * hurry),
    )


@dataclass(frozen=True, slots=True)
class Match:
    """A position of the dial, what came of it, and how far its price is from the one that was to be matched."""

    target: float
    outcome: Outcome
    error: float


class Dial:
    """What came of each position that was tried with one load; each is played once."""

    def __init__(self, played: Callable[[float], Outcome]) -> None:
        self._played = played
        self._known: dict[float, Outcome] = {}

    def matching(self, worker_s: float) -> Match:
        """The position within the tolerance that is met first on the way from the default; else the nearest price.

        A higher target mostly costs less, not always. So the way is a grid, finer by bisection where the price is
        crossed or nearly reached.
        """
        best = self._at(DEFAULT, worker_s)
        for match in self._way(best):
            best = min(best, match, key=lambda one: abs(one.error))
            if abs(match.error) <= TOLERANCE:
                return match
        return best

    def _way(self, start: Match) -> Iterator[Match]:
        """From the default towards the price, and then the other way."""
        worker_s = start.outcome.worker_s / (1 + start.error)
        up = [DEFAULT * STEP**step for step in range(1, STEPS)]
        down = [DEFAULT / STEP**step for step in range(1, STEPS)]
        yield start
        for targets in (up, down) if start.error > 0 else (down, up):
            last = start
            for target in targets:
                match = self._at(target, worker_s)
                yield match
                if match.error * last.error < 0:
                    yield from self._bisected(last, match, worker_s)
                if min(abs(match.error), abs(last.error)) < NEAR:
                    yield from self._between(last, match, worker_s)
                last = match

    def _bisected(self, one: Match, other: Match, worker_s: float) -> Iterator[Match]:
        """Ever nearer to where the price is crossed."""
        tried = []
        for _ in range(8):
            middle = self._at(sqrt(one.target * other.target), worker_s)
            tried.append(middle)
            if abs(middle.error) <= CLOSE:
                break
            one, other = (middle, other) if middle.error * one.error > 0 else (one, middle)
        yield min(tried, key=lambda match: abs(match.error))

    def _between(self, one: Match, other: Match, worker_s: float) -> Iterator[Match]:
        """Three positions between them."""
        for share in (0.25, 0.5, 0.75):
            yield self._at(one.target ** (1 - share) * other.target**share, worker_s)

    def _at(self, target: float, worker_s: float) -> Match:
        target = round(target, 4)
        if target not in self._known:
            self._known[target] = self._played(target)
        outcome = self._known[target]
        return Match(target, outcome, outcome.worker_s / worker_s - 1)


DEFAULT = Policy().target
STEP, STEPS = 2 ** (1 / 6), 19
