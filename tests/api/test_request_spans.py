"""A request's span: what comes in of a trace, what goes out, and what it says of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from otlp import Collector, collecting
from processes import free_port

from echo_api import create_app
from echo_tasks import tracing
from echo_tasks.settings import load

TRACE_ID, SPAN_ID = "ab" * 16, "cd" * 8
CALLER = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01"}
SECRET = "Brimtak"  # noqa: S105 - a town


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """The API, whose broker is away."""
    away = {name: str(free_port()) for name in ("BROKER_PORT", "STORE_PORT")}
    return create_app(load(away | {"ECHO_VAR": str(tmp_path)})).test_client()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """An endpoint that traces of this process go to."""
    with collecting() as collector:
        tracing.start(load({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER_ARG": "1"}), "tests")
        yield collector
        tracing.stop()


def test_a_request_is_the_child_of_its_caller(client: FlaskClient, collector: Collector) -> None:
    """By route, never by path; the answer names the span, and a refusal is no failure of ours."""
    answer = client.post("/api/jobs", json={"input_text": SECRET, "nonsense": 1}, headers=CALLER)
    assert answer.status_code == 422
    tracing.stop()
    (span,) = collector.spans
    assert (span.name, span.kind) == ("POST /api/jobs", "server")
    assert (span.trace_id, span.parent_id) == (TRACE_ID, SPAN_ID)
    assert answer.headers["traceresponse"] == f"00-{TRACE_ID}-{span.span_id}-01"
    assert span.attributes["http.response.status_code"] == 422
    assert not span.has_failed
    assert SECRET.encode() not in collector.bodies[0]


def test_what_the_path_names_is_told(client: FlaskClient, collector: Collector) -> None:
    """Jobs and sessions by their ids, and keys of the cache, which are a client's own, not at all."""
    job_id = "ef" * 16
    assert client.get(f"/api/jobs/{job_id}").status_code == 503  # the broker is away: that is a failure
    client.get(f"/api/cache/{SECRET}")
    client.open("/nowhere", method="BREW")
    assert client.get(f"/nowhere/{SECRET}").status_code == 404
    tracing.stop()
    job, cache, brew, nowhere = collector.spans
    assert brew.name == "_OTHER unmatched"
    assert (job.attributes["echo.job_id"], job.has_failed) == (job_id, True)
    assert cache.attributes["http.route"].startswith("/api/cache/<")
    assert (nowhere.name, nowhere.has_failed) == ("GET unmatched", False)
    assert SECRET.encode() not in b"".join(collector.bodies)


def test_each_request_has_a_span_of_its_own(client: FlaskClient, collector: Collector) -> None:
    """One after the other on one connection: none is current after its answer."""
    for _ in range(3):
        client.get("/nowhere", headers=CALLER)
        assert not tracing.current()
    tracing.stop()
    assert len({span.span_id for span in collector.spans}) == 3
    assert {span.parent_id for span in collector.spans} == {SPAN_ID}


def test_probes_and_scrapes_are_not_traced(client: FlaskClient, collector: Collector) -> None:
    """They come every few seconds for ever."""
    for path in ("/livez", "/readyz", "/health"):
        assert "traceresponse" not in client.get(path, headers=CALLER).headers
    tracing.stop()
    assert collector.spans == []


def test_without_traces_answers_are_as_ever(client: FlaskClient) -> None:
    """A caller's header goes nowhere."""
    assert "traceresponse" not in client.get("/livez", headers=CALLER).headers
    assert "traceresponse" not in client.get("/nowhere", headers=CALLER).headers
