"""What the engine leaves in traces: a span of each step that fed a traced generation, linked to all of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from feeding import Reading
from otlp import Collector, collecting

from echo_tasks import tracing
from echo_tasks.settings import load
from workers import spans
from workers.engine import Engine
from workers.rwkv7 import RWKV7
from workers.sequence import Generation, GenerationRequest, Sampling

PATIENCE_S = 30
PROMPT = "User: What is a tree?\n\nAssistant:"
SHORT = Sampling(temperature=0, max_tokens=3)
LONG = Sampling(temperature=0, max_tokens=6)

StartEngine = Callable[..., Engine]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """An endpoint that traces of this process go to, all of them."""
    with collecting() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER_ARG": "1"}
        tracing.start(load(settings), "tests")
        yield collector
        tracing.stop()


def test_a_step_links_the_traced_of_its_batch(
    start_engine: StartEngine, make_model: Callable[[int], RWKV7], collector: Collector
) -> None:
    """Two traced generations and one that is not, begun together: each step names whom of the two it fed."""
    model = Reading(make_model(3))
    model.go.clear()
    engine = start_engine(model)
    with tracing.span("short", "server") as short, tracing.span("long", "server") as long:
        futures = [
            engine.submit(GenerationRequest(PROMPT, SHORT, span=short)),
            engine.submit(GenerationRequest(PROMPT, LONG, span=long)),
            engine.submit(GenerationRequest(PROMPT, Sampling(temperature=0, max_tokens=9))),
        ]
        model.go.set()
        for future in futures:
            future.result(PATIENCE_S)
    engine.stop()
    tracing.stop()
    (one,), (other,) = collector.named("short"), collector.named("long")
    steps = sorted(collector.named("engine step"), key=lambda span: span.began_ns)
    linked = [step.links for step in steps]
    both = {one.place, other.place}
    assert len(linked) <= 7  # those that fed none of them left none
    assert linked.count(frozenset(both)) >= 2
    assert set().union(*linked) == both
    assert linked[-1] == {other.place}
    assert {step.attributes["echo.sequences"] for step in steps} <= {1, 2, 3}
    assert all(step.ended_ns > step.began_ns for step in steps)


def test_generations_that_are_not_traced_leave_no_steps(engine: Engine, collector: Collector) -> None:
    """Though others are, in this process."""
    engine.submit(GenerationRequest(PROMPT, SHORT)).result(PATIENCE_S)
    engine.stop()
    tracing.stop()
    assert collector.spans == []


def test_an_engine_without_traces_never_asks(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loop looks at one flag a step."""
    asked: list[object] = []
    monkeypatch.setattr(spans, "step", lambda *told: asked.append(told))
    engine.submit(GenerationRequest(PROMPT, SHORT)).result(PATIENCE_S)
    engine.stop()
    assert asked == []


def test_a_generation_tells_its_queue_prefill_and_tokens(
    engine: Engine, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its first token as an event, at its moment, and no text unless that is let in."""
    request = GenerationRequest(PROMPT, SHORT)
    with tracing.span("generate", "server") as span:
        answer: Generation = engine.submit(request).result(PATIENCE_S)
        spans.generated(span, request, answer, 10**18)
    tracing.stop()
    (told,) = collector.spans
    assert told.attributes["echo.queue_wait_s"] + told.attributes["echo.prefill_s"] == pytest.approx(answer.ttft_s)
    assert told.attributes["gen_ai.usage.input_tokens"] == answer.prompt_tokens
    assert told.attributes["gen_ai.usage.output_tokens"] == 3
    assert told.attributes["echo.finish_reason"] == "length"
    assert told.events["first token"] - 10**18 == pytest.approx(1e9 * answer.ttft_s, abs=2)
    assert told.events["slot taken"] <= told.events["first token"]
    assert "tree" not in str(told)
