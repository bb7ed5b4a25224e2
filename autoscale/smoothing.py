"""What was seen, averaged over time by the observations' own clock: pure, and small enough to be written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """The demand on the serving instances at a moment, and how many slots they had."""

    at: float
    demand: float
    slots: float


def kept(samples: Sequence[Sample], newest: Sample, window_s: float) -> tuple[Sample, ...]:
    """The samples with the newest one, without those that the window needs no more: it still needs one before it."""
    first = 0
    while first + 1 < len(samples) and samples[first + 1].at <= newest.at - window_s:
        first += 1
    return (*samples[first:], newest)


def averaged(samples: Sequence[Sample], window_s: float) -> Sample:
    """Demand and slots, averaged over the latest `window_s` seconds, or over as many of them as there are samples of.

    By the trapezoidal rule: a single reading of a single worker says all or nothing, and nothing of the time between.
    """
    later = samples[-1]
    end, since = later.at, max(samples[0].at, later.at - window_s)
    if since == end:
        return later
    demand = slots = 0.0
    for sample in reversed(samples[:-1]):
        span = later.at - max(sample.at, since)
        cut = (later.at - since) / (later.at - sample.at) if sample.at < since else 1.0
        demand += span * (later.demand + (sample.demand - later.demand) * cut / 2)
        slots += span * (later.slots + (sample.slots - later.slots) * cut / 2)
        if sample.at <= since:
            break
        later = sample
    return Sample(end, demand / (end - since), slots / (end - since))
