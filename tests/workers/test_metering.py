"""The engine's metrics count what happened, once."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from measured import Since
from prometheus_client import REGISTRY

from echo_tasks.errors import DeadlineExceeded, GenerationError
from workers.engine import Engine
from workers.rwkv7 import RWKV7
from workers.sequence import GenerationRequest, Sampling
from workers.tokenizer import Tokenizer

PATIENCE_S = 30
GREEDY = Sampling(temperature=0, max_tokens=12)
PROMPT = "User: What is a tree?\n\nAssistant:"
PARTS = ("linear", "wkv", "sampling", "overhead")


def test_an_answer_is_counted(engine: Engine, since: Since, tokenizer: Tokenizer) -> None:
    """Tokens in and out, each latency once, a step for the prompt and one for each token but the first."""
    answer = engine.submit(GenerationRequest(PROMPT, GREEDY)).result(PATIENCE_S)
    engine.stop()  # the last step is counted when it is over
    assert since("echo_engine_requests_total", outcome="length") == 1
    assert since("echo_engine_prompt_tokens_total") == len(tokenizer.encode(PROMPT))
    assert since("echo_engine_prefill_tokens_total") == len(tokenizer.encode(PROMPT))
    assert since("echo_engine_output_tokens_total") == len(answer.tokens) == 12
    for name in ("queue_wait", "time_to_first_token", "time_per_output_token"):
        assert since(f"echo_engine_{name}_seconds_count") == 1
    assert since("echo_engine_time_to_first_token_seconds_sum") == pytest.approx(answer.ttft_s)
    assert since("echo_engine_batch_sequences_sum") == since("echo_engine_batch_sequences_count") == 12


class Ticking:
    """A clock that is a second on each time it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def perf_counter(self) -> float:
        self.asked += 1
        return float(self.asked)


def test_the_parts_of_the_steps_are_their_whole(
    start_engine: Any, since: Since, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every part takes time, and together they are all that passed from the steps' beginnings to their ends."""
    clock = Ticking()
    monkeypatch.setattr("workers.stopwatch.time", clock)
    engine = start_engine()
    engine.submit(GenerationRequest(PROMPT, GREEDY)).result(PATIENCE_S)
    engine.stop()
    parts = [since("echo_engine_step_seconds_sum", part=part) for part in PARTS]
    assert all(seconds > 0 for seconds in parts)
    assert sum(parts) == clock.asked - 12  # a step's beginning ends none
    assert {since("echo_engine_step_seconds_count", part=part) for part in PARTS} == {12}


def test_a_batch_is_counted_by_its_rows(start_engine: Any, since: Since) -> None:
    """Three answers at once are three rows, and less than three times the steps."""
    engine = start_engine(slots=3)
    requests = [GenerationRequest(PROMPT, GREEDY) for _ in range(3)]
    for future in [engine.submit(request) for request in requests]:
        future.result(PATIENCE_S)
    engine.stop()
    assert since("echo_engine_batch_sequences_sum") == 36
    assert since("echo_engine_batch_sequences_count") < 36


def test_each_end_has_its_name(engine: Engine, since: Since) -> None:
    """Cancelled, late, and stopped answers are told apart, and what they said is counted."""
    endless = replace(GREEDY, max_tokens=4096)
    cancelled = GenerationRequest(PROMPT, endless)
    said: list[str] = []

    def cancel(text: str) -> None:
        said.append(text)
        cancelled.cancelled.set()

    object.__setattr__(cancelled, "on_text", cancel)
    assert engine.submit(cancelled).result(PATIENCE_S).finish_reason == "cancelled"
    assert since("echo_engine_requests_total", outcome="cancelled") == 1
    assert since("echo_engine_output_tokens_total") >= 1
    with pytest.raises(DeadlineExceeded):
        engine.submit(GenerationRequest(PROMPT, endless, deadline=time.monotonic())).result(PATIENCE_S)
    assert since("echo_engine_requests_total", outcome="deadline") == 1
    stop = replace(GREEDY, stop=(said[0].encode()[:1],))
    assert engine.submit(GenerationRequest(PROMPT, stop)).result(PATIENCE_S).finish_reason == "stop"
    assert since("echo_engine_requests_total", outcome="stop") == 1


def test_a_failure_is_counted(model: RWKV7, start_engine: Any, since: Since, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the model is an outcome too."""

    def fail(batch: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(model, "forward", fail)
    with pytest.raises(GenerationError):
        start_engine(model).submit(GenerationRequest(PROMPT, GREEDY)).result(PATIENCE_S)
    assert since("echo_engine_requests_total", outcome="failed") == 1


def test_an_engine_at_rest_holds_nothing(engine: Engine, since: Since) -> None:
    """The gauges go back to zero."""
    engine.submit(GenerationRequest(PROMPT, GREEDY)).result(PATIENCE_S)
    engine.stop()
    assert REGISTRY.get_sample_value("echo_engine_running_sequences") == 0
    assert REGISTRY.get_sample_value("echo_engine_waiting_sequences") == 0
