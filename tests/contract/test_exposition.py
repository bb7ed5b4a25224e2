"""The text that every process serves: what it declares, that others can read it, and that its names keep the rules."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from processes import ROOT
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from cache.collector import CacheCollector
from cache.statistics import LevelStatistics
from cache.tier import Size
from echo_api.response_time import ResponseTime
from echo_tasks import exposition, telemetry
from echo_tasks.telemetry.container import Container
from echo_tasks.telemetry.documented import COUNTERS

ROOMS = [
    importlib.import_module(room.name) for room in pkgutil.iter_modules(telemetry.__path__, "echo_tasks.telemetry.")
]

DOCUMENTED = COUNTERS | {"deep_echo_avg_response_time_ms"}
"""Names of the original document that break our rules, and stay."""

UNITS = {
    Counter: ("_total",),
    Histogram: ("_seconds", "_sequences"),
    Gauge: (
        *("_seconds", "_bytes", "_ratio"),
        *("_sequences", "_slots", "_steps", "_instances", "_streams", "_threads"),
        *("_info", "_active", "_leads"),
    ),
}
"""What the name of each kind ends with: base units, what is counted, or what is told by 1."""

LABELS = {
    *("route", "method", "status", "outcome", "part", "cause", "result", "tier", "reason", "state", "queue", "step"),
    *("model_name", "model_id", "dtype", "device", "version"),
}
"""Labels whose values are few: of our own making, or one for a process."""


def declared() -> Iterator[MetricWrapperBase]:
    """Every instrument of every room."""
    return (one for room in ROOMS for one in vars(room).values() if isinstance(one, MetricWrapperBase))


def collectors() -> list[Collector]:
    """What tells of more than instruments, with something in it."""
    response_time = ResponseTime()
    response_time.add(0.25)
    size = Size(entries=3, bytes=99, evictions=1)
    statistics = {"l1": LevelStatistics(4, 1, 0, size), "l2": LevelStatistics(3, 1, 0, size)}
    return [CacheCollector(lambda: statistics, requests_as="deep_echo_cache_requests"), response_time]  # type: ignore[arg-type,return-value]


@pytest.fixture
def text() -> str:
    return exposition.text(*collectors()).decode()


def test_the_documents_counters_are_counters_under_their_own_names(text: str) -> None:
    """Each is declared one, and is nowhere with `_total` behind it."""
    lines = text.splitlines()
    for name in COUNTERS:
        assert f"# TYPE {name} counter" in lines
        assert any(line.startswith((f"{name} ", f"{name}{{")) for line in lines), name
    assert "untyped" not in text
    assert not [name for name in COUNTERS if f"{name}_total" in text]


def test_everybody_can_read_it(text: str) -> None:
    """The library's own reader finds every family once, with its type and words, and nothing of when it was made."""
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert sorted(names) == sorted(set(names))
    types = {family.name: family.type for family in families}
    assert types["deep_echo_total_requests"] == types["cache_level_hits"] == "counter"
    assert types["deep_echo_avg_response_time_ms"] == types["cache_hit_ratio"] == "gauge"
    assert not [family.name for family in families if not family.documentation or family.type == "unknown"]
    assert not [name for name in names if name.endswith("_created")]
    values = {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}
    assert values["deep_echo_avg_response_time_ms",] == 250
    assert values["process_resident_memory_bytes",] > 1e6


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
def test_prometheus_own_tool_finds_the_documents_names_alone(text: str) -> None:
    """It takes exception to what the document calls its metrics, and to nothing else."""
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    told = done.stdout + done.stderr
    assert "error while linting" not in told
    assert {line.split()[0] for line in told.splitlines()} <= DOCUMENTED, told


def test_a_metric_keeps_the_rules() -> None:
    """Words about it, a unit that is a base unit, labels whose values are few."""
    found = list(declared())
    assert len(found) > 40
    for one in found:
        (metric,) = one.describe()
        name = f"{metric.name}_total" if isinstance(one, Counter) else metric.name
        assert len(metric.documentation) > 15, name
        assert metric.documentation.endswith("."), name
        assert name.endswith(UNITS[type(one)]), name
        assert set(one._labelnames) <= LABELS, name


def test_a_collector_keeps_them_too() -> None:
    """What is asked for at a scrape, as what is counted."""
    for metric in (metric for collector in (*collectors(), Container()) for metric in collector.collect()):
        ends = UNITS[Counter if metric.type == "counter" else Gauge]
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        assert metric.documentation.endswith("."), name
        assert name in DOCUMENTED or name.endswith((*ends, "_entries")), name
        assert {label for sample in metric.samples for label in sample.labels} <= {"level"}, name


def test_a_process_has_the_metrics_of_its_rooms_alone() -> None:
    """An API tells nothing of an engine, lest a zero of its is taken for one's."""
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import echo_api.app; from echo_tasks import exposition; print(exposition.text().decode())",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "echo_http_requests_total" in done.stdout
    assert "echo_jobs_distributed_total 0.0" in done.stdout
    for of_others in ("echo_engine_", "echo_reaper_", "echo_scaling_", "echo_worker_", "echo_step_", "echo_state_"):
        assert of_others not in done.stdout
