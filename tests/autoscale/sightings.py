"""Observations, made by a few words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from autoscale.decision import Decision, Memory, Policy, decide
from autoscale.observation import Instance, Observation

SLOTS = 8


def seen(
    at: float, *busy: int, ready: int = 0, starting: int | None = 0, draining: Iterable[int] = (), oldest_s: float = 0.0
) -> Observation:
    """Workers by how many of their eight slots are busy; those `draining` by their position. Later ones are younger."""
    instances = [
        Instance(f"w{number}", SLOTS, count, started_at=float(number), is_draining=number in draining)
        for number, count in enumerate(busy)
    ]
    return Observation(at, instances, starting, ready, delivered=0, oldest_s=oldest_s, arrived=0)


def decided(
    policy: Policy, sightings: Sequence[Observation], memory: Memory | None = None, floor: int = 0
) -> tuple[list[Decision], Memory]:
    """The decisions about one observation after the other."""
    decisions, memory = [], memory or Memory()
    for sighting in sightings:
        decision, memory = decide(policy, memory, sighting, floor)
        decisions.append(decision)
    return decisions, memory


def calm(policy: Policy, *busy: int, span_s: float = 700.0, since: float = 0.0) -> list[Observation]:
    """The same, every two seconds."""
    return [seen(since + 2.0 * step, *busy) for step in range(int(span_s / 2))]
