"""One trace from the request to the answer, over a real API and real workers, as an OTLP endpoint receives it."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from otlp import Collector, Received, collecting
from processes import Running, Site, free_port, until

from echo_tasks import keys

pytestmark = [pytest.mark.farm, pytest.mark.timeout(240)]

GREEDY = {"temperature": 0.0, "max_tokens": 60}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory, talkative: Any) -> Iterator[Site]:
    """A farm that traces nothing by itself: a caller who has his trace sampled decides."""
    site = Site(tmp_path_factory.mktemp("traced"), settings(talkative, collector.url, share="0"))
    with site.server("broker"), site.server("store"), site.worker(), site.http():
        yield site


def settings(model: Any, url: str, share: str) -> dict[str, str]:
    return {
        "ECHO_SLOTS": "8",
        "ECHO_MODEL": str(model),
        "ENABLE_CACHING": "false",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_TRACES_SAMPLER_ARG": share,
    }


class Caller:
    """Whoever asks, in a trace of his own."""

    def __init__(self, flags: str = "01") -> None:
        self.trace_id, self.span_id = secrets.token_hex(16), secrets.token_hex(8)
        self.headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{flags}"}

    def ask(self, site: Site, text: str = "Tell me a story.", **fields: Any) -> str:
        """A job's id."""
        answer = site.post("/api/jobs", {"input_text": text, "options": GREEDY} | fields, self.headers)
        assert answer.status == 202, answer.body
        assert answer.headers["traceresponse"].split("-")[1] == self.trace_id
        return str(answer.json["job_id"])


def spans_of(collector: Collector, trace_id: str, enough: Callable[[list[Received]], bool]) -> list[Received]:
    """The spans of a trace, once there are enough of them."""

    def look() -> list[Received] | None:
        found = [span for span in collector.spans if span.trace_id == trace_id]
        return found if enough(found) else None

    found: list[Received] = until(look, f"trace {trace_id} is whole", 30)
    return found


def has_ended(spans: list[Received]) -> bool:
    """Whether the spans of a job that went its whole way are there, those of two processes."""
    names = [span.name for span in spans]
    return "run echo.integration" in names and names.count("generate") == 4 and "POST /api/jobs" in names


def only(spans: list[Received], name: str) -> Received:
    (found,) = (span for span in spans if span.name == name)
    return found


def test_one_trace_goes_from_the_request_to_the_answer(traced: Site, collector: Collector) -> None:
    """HTTP, publish, three membranes, the engine and integration: one trace id, and each the child of who called it.

    Of two jobs at once, the engine's steps link the generations of both.
    """
    callers = [Caller(), Caller()]
    jobs = [caller.ask(traced, options=GREEDY | {"max_tokens": 100}) for caller in callers]
    assert {traced.ended(job_id)["status"] for job_id in jobs} == {"succeeded"}
    wholes = [spans_of(collector, caller.trace_id, has_ended) for caller in callers]
    for caller, job_id, spans in zip(callers, jobs, wholes, strict=True):
        check_whole(caller, job_id, spans)
    generations = [{span.place for span in spans if span.name == "generate"} for spans in wholes]
    steps = until(lambda: collector.named("engine step"), "steps are there")
    assert any(step.links & generations[0] and step.links & generations[1] for step in steps)
    assert any(len(step.links) == 6 for step in steps)  # of all membranes of both
    assert {step.trace_id for step in steps}.isdisjoint(caller.trace_id for caller in callers)


def check_whole(caller: Caller, job_id: str, spans: list[Received]) -> None:
    """Who is whose child, in which process, and when."""
    assert sorted(span.name for span in spans) == [
        "POST /api/jobs",
        *["generate"] * 4,
        *["publish"] * 2,
        *(f"run echo.{step}" for step in sorted(keys.STEPS)),
    ]
    request = only(spans, "POST /api/jobs")
    assert (request.parent_id, request.kind, request.service) == (caller.span_id, "server", "echo-api")
    assert request.attributes["echo.job_id"] == job_id
    assert request.attributes["http.response.status_code"] == 202
    by_id = {span.span_id: span for span in spans}
    first, second = sorted((span for span in spans if span.name == "publish"), key=lambda span: span.began_ns)
    assert (first.parent_id, first.kind, first.service) == (request.span_id, "producer", "echo-api")
    runs = {step: only(spans, f"run echo.{step}") for step in keys.STEPS}
    for step, run in runs.items():
        assert (run.kind, run.service, run.instance) == ("consumer", "echo-worker", "worker@test")
        assert run.attributes["messaging.destination.name"] == keys.queue(step)
        assert (run.attributes["echo.job_id"], run.attributes["echo.delivery"]) == (job_id, 1)
    assert {runs[step].parent_id for step in keys.MEMBRANES} == {first.span_id}
    assert runs["integration"].parent_id == second.span_id
    assert by_id[second.parent_id] in [runs[step] for step in keys.MEMBRANES]  # the one that was last
    generations = [span for span in spans if span.name == "generate"]
    assert {span.parent_id for span in generations} == {run.span_id for run in runs.values()}
    for generation in generations:
        run = by_id[generation.parent_id]
        assert run.began_ns <= generation.began_ns <= generation.ended_ns <= run.ended_ns
        assert generation.began_ns <= generation.events["first token"] <= generation.ended_ns
        assert generation.attributes["gen_ai.usage.output_tokens"] > 0
        assert generation.attributes["echo.queue_wait_s"] >= 0
        assert generation.attributes["echo.prefill_s"] > 0
    assert not any(span.has_failed for span in spans)


def test_what_nobody_samples_is_not_sent(traced: Site, collector: Collector) -> None:
    """With a share of 0, and a caller who has his trace not sampled; probes and scrapes are nobody's.

    Spans are sent in the order of their ends: with a later job's whole trace, whatever came before it would be there.
    """
    began_ns, caller, later = time.time_ns(), Caller("00"), Caller()
    job_id = caller.ask(traced)
    assert traced.ended(job_id)["status"] == "succeeded"
    assert "traceresponse" not in traced.get("/health", Caller().headers).headers
    assert "echo_trace_spans_dropped_total 0.0" in traced.get("/metrics").body.decode()
    assert traced.ended(later.ask(traced))["status"] == "succeeded"
    generations = {span.place for span in spans_of(collector, later.trace_id, has_ended) if span.name == "generate"}
    sent = [span for span in list(collector.spans) if span.began_ns >= began_ns]
    assert {span.trace_id for span in sent if span.name != "engine step"} == {later.trace_id}
    assert all(span.links and span.links <= generations for span in sent if span.name == "engine step")


def test_a_cancelled_jobs_trace_says_so(traced: Site, collector: Collector) -> None:
    """Its generations end as cancelled, in its trace; whoever cancels has a span that names the job."""
    caller, other = Caller(), Caller()
    job_id = caller.ask(traced, membranes=["memory"], options=GREEDY | {"max_tokens": 4000})
    until(lambda: traced.get(f"/api/jobs/{job_id}").json["status"] == "running", "it runs")
    assert traced.request("DELETE", f"/api/jobs/{job_id}", headers=other.headers).json["status"] == "cancelled"
    spans = spans_of(collector, caller.trace_id, lambda spans: "run echo.memory" in {span.name for span in spans})
    assert only(spans, "generate").attributes["echo.finish_reason"] == "cancelled"
    assert "run echo.integration" not in {span.name for span in spans}
    (request,) = spans_of(collector, other.trace_id, bool)
    assert request.attributes["echo.job_id"] == job_id


def test_a_turn_that_waited_is_of_its_own_trace(traced: Site, collector: Collector) -> None:
    """The worker that ends the turn before publishes it: below its own request, linked to that end."""
    callers = [Caller(), Caller()]
    session_id = secrets.token_hex(8)
    jobs = [caller.ask(traced, session_id=session_id) for caller in callers]
    assert {traced.ended(job_id)["status"] for job_id in jobs} == {"succeeded"}
    earlier, later = (spans_of(collector, caller.trace_id, has_ended) for caller in callers)
    publish = min((span for span in later if span.name == "publish"), key=lambda span: span.began_ns)
    assert publish.service == "echo-worker"
    assert publish.parent_id == only(later, "POST /api/jobs").span_id
    assert publish.links == {only(earlier, "run echo.integration").place}
    assert {only(later, f"run echo.{step}").parent_id for step in keys.MEMBRANES} == {publish.span_id}


def test_a_step_of_a_killed_worker_goes_on_in_its_trace(traced: Site, collector: Collector) -> None:
    """What the dead one did is lost; the reaper's and the second worker's spans are of the job's trace."""
    with (
        traced.worker(name="doomed") as doomed,
        redis.Redis.from_url(traced.broker_url, decode_responses=True) as broker,
    ):

        def held_by(job_id: str) -> str | None:
            found: str | None = until(lambda: broker.hget(keys.job(job_id), "node:memory"), "somebody takes it")
            return found

        callers: dict[str, Caller] = {}

        def is_taken() -> str | None:
            """The job that the doomed one has, if it took the latest; whoever is free takes what is asked."""
            caller = Caller()
            asked = caller.ask(traced, membranes=["memory"], options=GREEDY | {"max_tokens": 300})
            callers[asked] = caller
            if held_by(asked) == "doomed@test":
                return asked
            traced.request("DELETE", f"/api/jobs/{asked}")
            return None

        job_id = until(is_taken, "it has a job")
        doomed.process.send_signal(signal.SIGKILL)
        assert traced.ended(job_id)["status"] == "succeeded"
        spans = spans_of(
            collector, callers[job_id].trace_id, lambda spans: "run echo.integration" in {span.name for span in spans}
        )
    # Where that takes long, the dead one's message comes back meanwhile, and finds nothing to do.
    run = only([span for span in spans if "echo.delivery" in span.attributes], "run echo.memory")
    again = only(spans, "publish again")
    request = only(spans, "POST /api/jobs")
    assert (run.instance, run.attributes["echo.delivery"]) == ("worker@test", 2)
    assert (again.parent_id, again.attributes["echo.cause"]) == (request.span_id, "lease")
    parents = {span.span_id: span for span in spans}
    publish = parents[run.parent_id]
    assert publish.name == "publish"
    assert publish.parent_id in {again.span_id, request.span_id}  # the message came back, too: whichever was first


def test_an_endpoint_that_is_away_costs_jobs_nothing(tmp_path: Any, talkative: Any) -> None:
    """All are traced, none is sent: jobs succeed, drops are counted, and the processes end in time."""
    site = Site(tmp_path, settings(talkative, f"http://127.0.0.1:{free_port()}", share="1"))
    with site.server("broker"), site.server("store"), site.worker() as worker, site.http() as api:
        jobs = [site.post("/api/jobs", {"input_text": "Hello.", "options": GREEDY}).json["job_id"] for _ in range(4)]
        assert {site.ended(job_id)["status"] for job_id in jobs} == {"succeeded"}

        def dropped() -> float:
            lines = site.get("/metrics").body.decode().splitlines()
            return float(next(line for line in lines if line.startswith("echo_trace_spans_dropped_total")).split()[1])

        until(lambda: dropped() > 0, "drops are counted", 30)
        assert {ends_within(20, running) for running in (worker, api)} == {0}
        assert "Failed to export spans" in worker.text()


def ends_within(seconds: float, running: Running) -> int:
    began = time.monotonic()
    status = running.stop(within_s=seconds)
    assert time.monotonic() - began < seconds
    return status
