"""Traces: which span is whose child, what is carried where, and what an endpoint that does not take them costs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from otlp import Collector, collecting
from processes import ROOT, free_port, until
from prometheus_client import REGISTRY
from yard import LONG_AGO, Yard

from bench import sink
from echo_tasks import keys, settings, tracing
from echo_tasks.errors import SettingsError
from echo_tasks.messages import JobError, JobSpec, JobStatus
from echo_tasks.settings import load

CALLER = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01", "tracestate": "vendor=1"}
ELSEWHERE = {"traceparent": f"00-{'ef' * 16}-{'12' * 8}-01"}
UNSAMPLED = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-00"}

DROPPED = "echo_trace_spans_dropped_total"


@contextmanager
def sent_to(url: str, share: float = 1) -> Iterator[None]:
    """Traces of this process go to the URL until the block ends."""
    tracing.start(
        load({"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER_ARG": str(share)}), "tests", "tests@here"
    )
    try:
        yield
    finally:
        tracing.stop()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """An endpoint, and traces that go to it; what they were is known once they have been stopped."""
    with collecting() as collector, sent_to(collector.url):
        yield collector


def dropped() -> float:
    return REGISTRY.get_sample_value(DROPPED) or 0.0


def run(program: str) -> str:
    """What a Python of its own prints."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("process", ["echo_api; echo_api.create_app()", "workers.runtime", "autoscale.controller"])
def test_without_an_endpoint_nothing_that_makes_or_sends_spans_is_loaded(process: str) -> None:
    """Each process, as it is imported and started."""
    program = f"import sys, {process}; from echo_tasks import settings, tracing; tracing.start(settings.current(), 's')"
    loaded = run(f"{program}\nprint(*sys.modules)").split()
    assert "echo_tasks.tracing" in loaded
    unwanted = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "echo_tasks.tracing.sdk")
    assert [name for name in loaded if name.startswith(unwanted)] == []


def test_without_the_extra_an_endpoint_is_refused_and_no_endpoint_is_fine() -> None:
    """One line says what to install; whoever wants no traces needs nothing."""
    missing = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from echo_tasks import tracing; from echo_tasks.settings import load"
    )
    assert run(f"{missing}\ntracing.start(load({{}}), 's'); print(tracing.is_on())").strip() == "False"
    program = f"{missing}; from echo_tasks.errors import SettingsError\n" + (
        "try: load({'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:4318'})\n"
        "except SettingsError as error: print(error)"
    )
    (line,) = run(program).splitlines()
    assert line.startswith("OTEL_EXPORTER_OTLP_ENDPOINT='http://127.0.0.1:4318' is not allowed")
    assert "pip install 'deep-tree-echo[tracing]'" in line


@pytest.mark.parametrize("endpoint", ["jaeger:4318", "grpc://jaeger:4317", "http://"])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    """What nobody can send to is told at the start."""
    with pytest.raises(SettingsError):
        load({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})


def test_where_nothing_is_traced_spans_are_nothing() -> None:
    """Whoever makes spans need not know."""
    with tracing.span("a request", "server", of=CALLER) as span:
        span.set({"a": 1})
        span.event("now", 1)
        span.fail("it")
        assert not span.is_recorded
        assert not tracing.current()
        assert not tracing.ids()
    assert not tracing.is_on()


def test_a_callers_trace_is_continued(collector: Collector) -> None:
    """Parent, trace and vendors' state come in and go on; what is current is what logs and messages name."""
    with tracing.span("outer", "server", of=CALLER, attributes={"a": 1, "none": None}) as outer:
        told, carried = tracing.ids(), tracing.current()
        assert outer.is_recorded
        with tracing.span("inner"):
            tracing.active().set({"b": "x"})
    tracing.stop()
    (first,), (second,) = collector.named("outer"), collector.named("inner")
    assert (first.trace_id, first.parent_id, first.kind) == ("ab" * 16, "cd" * 8, "server")
    assert (second.trace_id, second.parent_id, second.kind) == (first.trace_id, first.span_id, "internal")
    assert told == {"trace_id": first.trace_id, "span_id": first.span_id}
    assert carried == {"traceparent": f"00-{'ab' * 16}-{first.span_id}-01", "tracestate": "vendor=1"}
    assert (first.attributes, second.attributes) == ({"a": 1}, {"b": "x"})
    assert (first.service, first.instance) == ("tests", "tests@here")


def test_a_span_of_another_trace_is_linked(collector: Collector) -> None:
    """What is done for one job while another one's span is current is of its own job's trace."""
    with tracing.span("integration", "server", of=CALLER), tracing.span("publish", "producer", of=ELSEWHERE):
        pass
    with tracing.span("run", "consumer", of=ELSEWHERE, caller=CALLER):
        pass
    tracing.stop()
    (integration,), (publish,), (run_,) = map(collector.named, ("integration", "publish", "run"))
    assert (publish.trace_id, publish.parent_id) == ("ef" * 16, "12" * 8)
    assert publish.links == {integration.place}
    assert (run_.trace_id, run_.links) == ("ef" * 16, {("ab" * 16, "cd" * 8)})


def test_only_a_request_begins_a_trace(collector: Collector) -> None:
    """Work that nobody's request is behind leaves no spans, and nonsense that a caller sends is no trace."""
    for kind in ("producer", "consumer", "internal"):
        with tracing.span(kind, kind) as span:  # type: ignore[arg-type]
            assert not span.is_recorded
    with tracing.span("request", "server", of={"traceparent": "00-zz-1-01", "tracestate": "\x00"}):
        pass
    tracing.stop()
    assert [span.name for span in collector.spans] == ["request"]
    assert collector.spans[0].parent_id == ""


def test_an_exception_fails_its_span_by_name_alone(collector: Collector) -> None:
    """Its words may be a client's."""
    with pytest.raises(ValueError, match="secret"), tracing.span("request", "server"):
        raise ValueError("a secret")
    tracing.stop()
    (span,) = collector.spans
    assert span.has_failed
    assert span.attributes == {"error.type": "ValueError"}
    assert b"secret" not in b"".join(collector.bodies)


def test_what_is_not_sampled_is_not_sent_but_is_named() -> None:
    """With a share of 0 nothing is sent but what a caller samples; logs of the rest have its ids nevertheless."""
    with collecting() as collector, sent_to(collector.url, share=0):
        for of in ({}, UNSAMPLED):
            with tracing.span("request", "server", of=of) as span, tracing.span("inner"):
                assert not span.is_recorded
                assert len(tracing.ids()["trace_id"]) == 32
        tracing.stop()
        assert collector.bodies == []
    with collecting() as collector, sent_to(collector.url, share=0):
        with tracing.span("request", "server", of=CALLER):
            pass
        tracing.stop()
        assert [span.name for span in collector.spans] == ["request"]


def test_what_is_done_for_several_is_linked_to_all(collector: Collector) -> None:
    """Such spans are of a trace of their own, in which there are several of them."""
    with tracing.span("one", "server") as one, tracing.span("two", "server", of=ELSEWHERE) as two:
        for _ in range(3):
            tracing.linking("step", [one, two], attributes={"n": 2}, began_ns=10**18, ended_ns=10**18 + 5)
    tracing.stop()
    places = {collector.named(name)[0].place for name in ("one", "two")}
    steps = collector.named("step")
    assert [step.links for step in steps] == [places] * 3
    assert {(step.began_ns, step.ended_ns) for step in steps} == {(10**18, 10**18 + 5)}
    (trace_id,) = {step.trace_id for step in steps}
    assert trace_id not in {trace for trace, _ in places}
    assert [step.parent_id for step in steps] == ["", steps[0].span_id, steps[0].span_id]


def test_an_endpoint_that_is_away_costs_a_count() -> None:
    """Nobody who makes spans waits; the end of the process waits for some seconds at most."""
    before = dropped()
    with sent_to(f"http://127.0.0.1:{free_port()}"):
        began = time.monotonic()
        for _ in range(100):
            with tracing.span("request", "server"):
                pass
        made_s = time.monotonic() - began
        began = time.monotonic()
        tracing.stop()
        stopped_s = time.monotonic() - began
    assert dropped() - before == 100
    assert made_s < 2
    assert stopped_s < 6


def test_an_endpoint_that_never_answers_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and no more: its batches fail after their time, the room runs out, and all is counted."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    before, made = dropped(), 5000
    with socket.create_server(("127.0.0.1", 0)) as server, sent_to(f"http://127.0.0.1:{server.getsockname()[1]}"):
        began = time.monotonic()
        for _ in range(made):
            with tracing.span("request", "server"):
                pass
        assert dropped() > before  # there is no room for so many
        until(lambda: dropped() - before > made - 4096, "a batch has failed", 20)
        tracing.stop()
        assert dropped() - before == made
        assert time.monotonic() - began < 30


def test_an_endpoint_that_refuses_is_told_from_one_that_takes() -> None:
    """A wrong path is 404: what is sent there is lost, and counted; the next endpoint takes all."""
    before = dropped()
    with sink.listening(lambda body: None) as url, sent_to(f"{url}/elsewhere"):
        with tracing.span("request", "server"):
            pass
        tracing.stop()
        assert dropped() - before == 1
    with collecting() as collector, sent_to(f"{collector.url}/"):
        with tracing.span("request", "server"):
            pass
        tracing.stop()
    assert len(collector.spans) == 1
    assert dropped() - before == 1


def headers(yard: Yard, step: str = "memory") -> list[str]:
    """The places that the messages of a step carry, by W3C's text; none for one without."""
    names = [keys.waiting(step, priority) for priority in range(keys.HIGHEST, 0, -1)]
    messages = [message for name in names for message in reversed(yard.broker.lrange(name, 0, -1))]
    yard.broker.delete(*names)
    return [json.loads(message)["headers"].get("traceparent", "") for message in messages]


def test_a_messages_headers_name_the_span_that_published_it(yard: Yard, collector: Collector) -> None:
    """One span for all membranes of a job, below the request's."""
    with tracing.span("request", "server", of=CALLER):
        yard.published(membranes=["memory", "grammar"], trace=dict(tracing.current()))
    carried = headers(yard) + headers(yard, "grammar")
    tracing.stop()
    (request,), (publish,) = collector.named("request"), collector.named("publish")
    assert (publish.parent_id, publish.kind) == (request.span_id, "producer")
    assert carried == [f"00-{publish.trace_id}-{publish.span_id}-01"] * 2
    assert publish.attributes["echo.steps"] == "memory,grammar"


def test_without_traces_messages_and_records_are_as_ever(yard: Yard) -> None:
    """Nothing is added to either, and what an older process wrote is read."""
    spec = yard.published()
    assert headers(yard) == [""]
    record = yard.broker.hget(keys.job(spec.job_id), "spec")
    assert "trace" not in json.loads(record)
    assert JobSpec.model_validate_json(record).trace == {}


@pytest.mark.parametrize("cause", ["lease", "message", "due"])
def test_a_step_that_is_published_again_stays_in_its_jobs_trace(yard: Yard, collector: Collector, cause: str) -> None:
    """By a reaper, which knows the job by its record alone: after a worker's death, a loss, and a pause."""
    spec = yard.published(trace=CALLER)
    yard.take()
    if cause != "message":
        lease = yard.held(spec.job_id)
        if cause == "due":
            yard.ledger.steps.postpone(lease, 0)
    yard.wait()
    yard.reap()
    (carried,) = headers(yard)
    tracing.stop()
    (again,) = collector.named("publish again")
    publish = collector.named("publish")[-1]
    assert again.attributes["echo.cause"] == cause
    assert (again.trace_id, again.parent_id) == ("ab" * 16, "cd" * 8)
    assert (publish.trace_id, publish.parent_id) == ("ab" * 16, again.span_id)
    assert carried == f"00-{'ab' * 16}-{publish.span_id}-01"


def test_a_sessions_next_turn_is_of_its_own_trace(yard: Yard, collector: Collector) -> None:
    """Whoever ends the turn before lets it go, in a span of that one: the two are linked, and no more."""
    first = yard.published(trace=CALLER)
    second = yard.published(trace=ELSEWHERE, session_id=first.session_id)
    headers(yard)
    with tracing.span("end", "consumer", of=CALLER):
        yard.ledger.fail(first, JobError(reason="x"))
        yard.dispatcher.settle(first, None)
    (carried,) = headers(yard)
    tracing.stop()
    (end,) = collector.named("end")
    publish = next(span for span in collector.named("publish") if span.attributes["echo.job_id"] == second.job_id)
    assert (publish.trace_id, publish.parent_id, publish.links) == ("ef" * 16, "12" * 8, {end.place})
    assert carried == f"00-{'ef' * 16}-{publish.span_id}-01"


def test_an_answer_that_is_shared_is_in_the_followers_trace(yard: Yard, collector: Collector) -> None:
    """A job that waited for an equal one ends in a span of its own, linked to the other's end."""
    leader, follower = yard.published(trace=CALLER), yard.published(trace=ELSEWHERE)
    yard.broker.rpush(keys.followers(leader.job_id), follower.job_id)
    with tracing.span("end", "consumer", of=CALLER):
        yard.dispatcher.settle(leader, None, JobError(reason="x", rejected=True))
    assert yard.ledger.read(follower.job_id).status is JobStatus.FAILED
    tracing.stop()
    (end,), (share,) = collector.named("end"), collector.named("end as an equal job")
    assert (share.trace_id, share.parent_id, share.links) == ("ef" * 16, "12" * 8, {end.place})


@pytest.mark.parametrize("asks", [True, False])
def test_a_replayed_letter_is_traced(yard: Yard, collector: Collector, asks: bool) -> None:
    """It is of the trace of whoever asks again, linked to the first; of the first where nobody's is known."""
    spec = yard.published(trace=CALLER)
    yard.take()
    yard.reaper._bury(spec.job_id, "memory", "for a test", LONG_AGO)
    if asks:
        with tracing.span("request", "server", of=ELSEWHERE):
            again = yard.letters.replay(spec.job_id)
    else:
        again = yard.letters.replay(spec.job_id)
    trace_id = "ef" * 16 if asks else "ab" * 16
    assert again.trace["traceparent"].split("-")[1] == trace_id
    assert headers(yard)[0].split("-")[1] == trace_id
    tracing.stop()
    if asks:
        assert collector.named("request")[0].links == {("ab" * 16, "cd" * 8)}


def test_threads_have_spans_of_their_own(collector: Collector) -> None:
    """What is current in one is not in another, as task threads need it."""
    seen: list[Any] = []
    with tracing.span("request", "server"):
        thread = threading.Thread(target=lambda: seen.append(dict(tracing.ids())))
        thread.start()
        thread.join()
    assert seen == [{}]


def test_off_costs_next_to_nothing() -> None:
    """A span that is none takes a microsecond or so: a bound that a slow machine keeps, too."""

    def best_s(act: Callable[[], object]) -> float:
        rounds = []
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(1000):
                act()
            rounds.append(time.perf_counter() - began)
        return min(rounds) / 1000

    assert best_s(lambda: tracing.span("x")) < 20e-6
    assert best_s(tracing.is_on) < 5e-6
    assert settings.current().otel_exporter_otlp_endpoint is None
