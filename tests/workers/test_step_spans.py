"""The spans of steps: whose children they are, whatever published them, and how they tell of what went wrong."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from otlp import Collector, Received, collecting
from test_steps import Bench

from echo_tasks import keys, tracing
from echo_tasks.errors import EngineFaulted, GenerationError
from echo_tasks.messages import JobSpec
from echo_tasks.settings import load
from workers import calls
from workers.calls import Call

TRACE_ID, REQUEST_ID, PUBLISH_ID = "ab" * 16, "cd" * 8, "12" * 8
REQUEST = {"traceparent": f"00-{TRACE_ID}-{REQUEST_ID}-01"}
MESSAGE = {"traceparent": f"00-{TRACE_ID}-{PUBLISH_ID}-01", "redelivered": True}
ANOTHERS = {"traceparent": f"00-{'ef' * 16}-{PUBLISH_ID}-01"}


@pytest.fixture
def collector() -> Iterator[Collector]:
    """An endpoint that traces of this process go to."""
    with collecting() as collector:
        tracing.start(load({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER_ARG": "0"}), "tests")
        yield collector
        tracing.stop()


@pytest.fixture
def bench(broker_url: str, collector: Collector) -> Iterator[Bench]:
    """A worker's steps in a database of its own."""
    bench = Bench(broker_url.removesuffix("/0") + "/1")
    bench.broker.flushdb()
    calls.enter(Call())
    yield bench
    bench.broker.close()


def accepted(bench: Bench, trace: dict[str, str]) -> str:
    """A job of one membrane."""
    fields = {"session_id": uuid.uuid4().hex, "input_text": "Hello.", "membranes": ["memory"], "trace": trace}
    spec = JobSpec.model_validate(fields | {"job_id": uuid.uuid4().hex})
    bench.accept(spec)
    return spec.job_id


def runs(collector: Collector) -> list[Received]:
    tracing.stop()
    return collector.named("run echo.memory")


@pytest.mark.parametrize(
    ("headers", "parent_id", "links"),
    [
        (MESSAGE, PUBLISH_ID, set()),
        ({}, REQUEST_ID, set()),
        (ANOTHERS, REQUEST_ID, {("ef" * 16, PUBLISH_ID)}),
    ],
)
def test_a_step_is_of_its_jobs_trace(
    bench: Bench,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
    parent_id: str,
    links: set[tuple[str, str]],
) -> None:
    """Below whoever published its message, if that is of the same trace; else below the request."""
    monkeypatch.setattr(calls, "headers", lambda: headers)
    job_id = accepted(bench, REQUEST)
    bench.steps.run(job_id, "memory")
    (run,) = runs(collector)
    assert (run.trace_id, run.parent_id, run.links) == (TRACE_ID, parent_id, links)
    assert run.attributes["messaging.message.id"] == f"{job_id}.memory"
    (generation,) = collector.named("generate")
    assert (generation.trace_id, generation.parent_id) == (TRACE_ID, run.span_id)


def test_a_job_without_a_trace_leaves_none(bench: Bench, collector: Collector) -> None:
    """An older process accepted it, or one that traces nothing."""
    job_id = accepted(bench, {})
    for step in ("memory", keys.INTEGRATION):
        bench.steps.run(job_id, step)
    assert runs(collector) == []
    assert collector.bodies == []


def test_each_try_of_a_step_is_a_span(bench: Bench, collector: Collector) -> None:
    """Those that failed say so, and that there will be another; each has its number."""
    job_id = accepted(bench, REQUEST)
    bench.engine.error = EngineFaulted("for a test")
    bench.steps.run(job_id, "memory")
    bench.engine.error = None
    bench.broker.delete(keys.DELAYED)
    bench.steps.run(job_id, "memory")
    first, second = runs(collector)
    assert (first.attributes["echo.delivery"], second.attributes["echo.delivery"]) == (1, 2)
    assert first.attributes["echo.outcome"] == "postponed"
    assert second.attributes["echo.outcome"] == "succeeded"
    assert second.attributes["echo.faults"] == 1
    assert [span.has_failed for span in collector.named("generate")] == [True, False]
    assert not second.has_failed


def test_a_step_that_failed_for_good_says_so(bench: Bench, collector: Collector) -> None:
    """By kind; what it failed with is in the job and in the log."""
    bench.engine.error = GenerationError("of its own words")
    bench.steps.run(accepted(bench, REQUEST), "memory")
    (run,) = runs(collector)
    (generation,) = collector.named("generate")
    assert run.has_failed
    assert run.attributes["echo.outcome"] == run.attributes["error.type"] == "failed"
    assert generation.attributes["error.type"] == "GenerationError"
    assert b"of its own words" not in b"".join(collector.bodies)


def test_a_delivery_for_nothing_says_why(bench: Bench, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that comes twice is in the trace that it carries."""
    monkeypatch.setattr(calls, "headers", lambda: MESSAGE)
    job_id = accepted(bench, REQUEST)
    bench.steps.run(job_id, "memory")
    bench.steps.run(job_id, "memory")
    _, again = runs(collector)
    assert again.attributes["echo.nothing_to_do"] == "recorded"
    assert (again.trace_id, again.parent_id) == (TRACE_ID, PUBLISH_ID)
