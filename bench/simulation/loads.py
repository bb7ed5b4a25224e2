"""Loads: when jobs come, and how large they are; from real traces where they are at hand, and generated."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from bench.simulation.service import Floats, Service

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces" / "arrivals"
"""Beside the repository."""

MEAN_TOKENS = 400.0
"""Of a job, where a load says nothing: what one of Azure's chat service is on this worker."""

PEAK_PER_S = 8.0
"""Jobs a second in the busiest bin, to which loads that are known by their rate are thinned."""

FASTER = 12.0
"""How many times as fast these loads are played: their fourteen days in twenty-eight hours."""


@dataclass(frozen=True, slots=True)
class Load:
    """Jobs by the second at which they come, in order, and their sizes in decoded tokens."""

    name: str
    at: Floats
    work: Floats
    span_s: float

    def filling(self, share: float, workers: int, service: Service, window_s: float = 300.0) -> Load:
        """The same load with jobs of such sizes that its heaviest five minutes take this share of so many workers."""
        bins = np.arange(0.0, self.span_s + window_s, window_s)
        heaviest = np.histogram(self.at, bins, weights=self.work)[0].max() / min(window_s, self.span_s)
        return replace(self, work=self.work * (share * workers * service.full_tokens_per_s / heaviest))


def azure(path: Path, service: Service) -> Load:
    """An hour of a chat service: Azure/AzurePublicDataset, 2023 (Splitwise), CC-BY 4.0."""
    with path.open() as lines:
        rows = list(csv.DictReader(lines))
    moments = [datetime.fromisoformat(row["TIMESTAMP"][:26]) for row in rows]
    at = np.array([(moment - moments[0]).total_seconds() for moment in moments])
    read, decoded = (np.array([float(row[name]) for row in rows]) for name in ("ContextTokens", "GeneratedTokens"))
    return Load("azure-conv", at, service.work(read, decoded), float(at[-1]) + 1.0)


def mooncake(path: Path, service: Service) -> Load:
    """Seventeen minutes of prompts with shared beginnings: kvcache-ai/Mooncake (FAST'25), Apache-2.0."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    at = np.array([row["timestamp"] / 1000 for row in rows])
    read, decoded = (np.array([float(row[name]) for row in rows]) for name in ("input_length", "output_length"))
    return Load("mooncake", at, service.work(read, decoded), float(at[-1]) + 1.0)


def servegen(path: Path, rng: np.random.Generator) -> Load:
    """Fourteen days of a production model, in bins of ten minutes: alibaba/ServeGen, Apache-2.0; by their own CV."""
    rows = np.genfromtxt(path, delimiter=",", names=True)
    return binned("servegen-14d", rows["rate_rps"], 600.0, rows["rate_weighted_cv"], rng)


def taxi(path: Path, rng: np.random.Generator) -> Load:
    """The first fourteen days of New York's taxis, strongly daily, in bins of half an hour: numenta/NAB; Poisson."""
    with path.open() as lines:
        values = np.array([float(row["value"]) for row in csv.DictReader(lines)][: 14 * 48])
    return binned("nyc-taxi-14d", values, 1800.0, np.ones(len(values)), rng)


def bursts(rng: np.random.Generator, jobs: int = 20_000, per_s: float = 2.5, cv: float = 13.0) -> Load:
    """An hour with the burstiness of Azure's code service: Gamma inter-arrivals with a CV of 13."""
    at = np.cumsum(_gaps(rng, cv, jobs)) / per_s
    return Load("gamma-cv13", at, rng.exponential(MEAN_TOKENS, jobs), float(at[-1]) + 1.0)


def poisson(rng: np.random.Generator, per_s: float, span_s: float, tokens: float = MEAN_TOKENS) -> Load:
    """A constant rate of jobs of exponential size."""
    at = np.sort(rng.uniform(0.0, span_s, rng.poisson(per_s * span_s)))
    return Load("poisson", at, rng.exponential(tokens, len(at)), span_s)


def binned(name: str, rates: Floats, bin_s: float, cvs: Floats, rng: np.random.Generator) -> Load:
    """Jobs of a load that is known by its rate alone: Gamma inter-arrivals in each bin, thinned, and played faster."""
    length_s = bin_s / FASTER
    expected = rates / rates.max() * PEAK_PER_S * length_s
    at = [
        (number + within) * length_s
        for number, (count, cv) in enumerate(zip(expected, cvs, strict=True))
        for within in [_within(rng, count, cv)]
    ]
    moments = np.concatenate(at)
    return Load(name, moments, rng.exponential(MEAN_TOKENS, len(moments)), len(rates) * length_s)


def _within(rng: np.random.Generator, count: float, cv: float) -> Floats:
    """When the jobs of a bin come, in shares of it."""
    if count <= 0:
        return np.zeros(0)
    gaps = _gaps(rng, cv, int(count + 10 * cv * (count**0.5) + 50)) / count
    at = np.cumsum(gaps)
    return at[at < 1.0]


def _gaps(rng: np.random.Generator, cv: float, count: int) -> Floats:
    """Inter-arrival times with a mean of one."""
    return rng.gamma(1 / cv**2, cv**2, count)
