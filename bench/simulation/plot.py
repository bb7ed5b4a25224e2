"""A picture of a load: what there was to do, what there was to do it with, and how long jobs waited."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

from bench.simulation.loads import Load
from bench.simulation.play import Outcome
from bench.simulation.service import Floats

mpl.use("agg")
from matplotlib import pyplot as plt  # noqa: E402  after the choice of a backend without a screen

BINS = 400


def draw(path: Path, load: Load, played: Sequence[tuple[str, Outcome]]) -> None:
    """A PNG with a column for each scaler: jobs and slots above, workers in the middle, the 99th percentile of waits below."""
    figure, axes = plt.subplots(
        3, len(played), figsize=(5 * len(played), 8), sharex=True, sharey="row", squeeze=False, layout="constrained"
    )
    for column, (name, outcome) in enumerate(played):
        jobs, workers, waits = axes[:, column]
        minutes, _, slots, demand = outcome.trail.T
        minutes = minutes / 60
        jobs.plot(minutes, demand, linewidth=0.6, label="jobs that run or wait")
        jobs.plot(minutes, slots, linewidth=0.8, label="slots that serve")
        jobs.set_title(f"{load.name}: {name}")
        workers.step(minutes, outcome.trail[:, 1], where="post", linewidth=0.8, color="tab:green", label="workers")
        waits.plot(*_waits(load, outcome), linewidth=0.8, color="tab:red", label="wait, p99, s")
        waits.set_yscale("symlog", linthresh=1)
        waits.set_xlabel("minutes")
    for row in axes:
        row[0].legend(loc="upper left")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _waits(load: Load, outcome: Outcome) -> tuple[Floats, Floats]:
    """Minutes, and the 99th percentile of the waits of the jobs that came then."""
    came = load.at[: len(outcome.waits_s)]
    edges = np.linspace(0.0, load.span_s, BINS + 1)
    parts = np.split(outcome.waits_s, np.searchsorted(came, edges[1:-1]))
    return edges[:-1] / 60, np.array([np.percentile(part, 99) if len(part) else 0.0 for part in parts])
