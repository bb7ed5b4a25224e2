"""What was found at one moment; all that the view is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from echo_tasks.messages import ScalingEvent, ScalingState, WorkerRecord
from monitoring.terminal.exposition import Samples


@dataclass(frozen=True, slots=True)
class Farm:
    """What the broker knows: its time, the workers, and what the leading controller says and has decided of late."""

    now: float
    workers: tuple[WorkerRecord, ...] = ()
    scaling: ScalingState | None = None
    events: tuple[ScalingEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """A moment of this process's monotonic clock, in seconds. What could not be reached is None, or not in `workers`.

    `faults` tells why, by who was asked; `web` tells whether a page answers, by its name.
    """

    at: float
    farm: Farm | None = None
    exporter: Samples | None = None
    api: Samples | None = None
    workers: Samples = field(default_factory=Samples)
    faults: Mapping[str, str] = field(default_factory=dict)
    web: Mapping[str, bool] = field(default_factory=dict)
