"""A picture of a load: what there was to do, what there was to do it with, and how long jobs waited."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.simulation.loads import Load
from bench.simulation.play import Outcome
from bench.simulation.service import Floats

BINS = 400

Pair = tuple[str, Outcome, Outcome]
"""A peer's name, what came of it, and what came of our decision at its price."""


def is_installed() -> bool:
    """Whether there is something to draw with (the extra `bench` installs it)."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(path: Path, load: Load, pairs: Sequence[Pair]) -> None:
    """A PNG with a column for each peer: jobs and slots above, workers in the middle, waits (p99) below."""
    figure = importlib.import_module("matplotlib.figure").Figure(
        figsize=(5 * len(pairs), 8), layout="constrained", dpi=80
    )
    axes = figure.subplots(3, len(pairs), sharex=True, sharey="row", squeeze=False)
    for column, (name, theirs, ours) in enumerate(pairs):
        axes[0, column].set_title(f"{load.name}: {name}, and ours at its price")
        for outcome, label, colour in ((theirs, name, "tab:orange"), (ours, "ours", "tab:blue")):
            _column(axes[:, column], load, outcome, label, colour)
        axes[2, column].set_xlabel("hours")
        axes[2, column].set_yscale("symlog", linthresh=1)
        axes[0, column].legend(loc="upper left")
    for row, label in enumerate(("jobs that run or wait (thin), slots", "workers", "wait of the time's jobs, p99, s")):
        axes[row, 0].set_ylabel(label)
    figure.savefig(path)


def _column(axes: Any, load: Load, outcome: Outcome, label: str, colour: str) -> None:
    seconds, workers, slots, demand = outcome.trail.T
    hours = seconds / 3600
    axes[0].plot(hours, demand, linewidth=0.3, color=colour, alpha=0.6)
    axes[0].step(hours, slots, where="post", linewidth=1.0, color=colour, label=label)
    axes[1].step(hours, workers, where="post", linewidth=1.0, color=colour)
    axes[2].plot(*_waits(load, outcome), linewidth=0.8, color=colour)


def _waits(load: Load, outcome: Outcome) -> tuple[Floats, Floats]:
    """Hours, and the 99th percentile of the waits of the jobs that came then."""
    edges = np.linspace(0.0, load.span_s, BINS + 1)
    came = load.at[: len(outcome.waits_s)]
    parts = np.split(outcome.waits_s, np.searchsorted(came, edges[1:-1]))
    return edges[:-1] / 3600, np.array([np.percentile(part, 99) if len(part) else 0.0 for part in parts])
