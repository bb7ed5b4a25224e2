"""The engine's metrics: how its steps and its sequences went."""

from __future__ import annotations

import time
from typing import Literal

from echo_tasks.telemetry import engine as telemetry
from workers.sequence import FinishReason, Sequence
from workers.stopwatch import Stopwatch

Outcome = FinishReason | Literal["deadline", "failed"]


def step(fed: int, prefilled: int, watch: Stopwatch) -> None:
    """Count a step that fed so many sequences, and so many tokens of prompts."""
    telemetry.ENGINE_BATCH_ROWS.observe(fed)
    telemetry.ENGINE_PREFILL_TOKENS.inc(prefilled)
    for part, seconds in watch.seconds.items():
        telemetry.ENGINE_STEP_SECONDS.labels(part).observe(seconds)


def admitted(sequence: Sequence) -> None:
    """Count a sequence that has got its slot."""
    telemetry.ENGINE_QUEUE_SECONDS.observe(sequence.admitted_at - sequence.submitted_at)
    telemetry.ENGINE_PROMPT_TOKENS.inc(sequence.prompt_tokens)


def ended(sequence: Sequence, outcome: Outcome) -> None:
    """Count a sequence that has left, however it ended."""
    telemetry.ENGINE_REQUESTS.labels(outcome).inc()
    telemetry.ENGINE_OUTPUT_TOKENS.inc(len(sequence.tokens))
    if sequence.tokens:
        telemetry.ENGINE_TTFT_SECONDS.observe(sequence.first_token_at - sequence.submitted_at)
    if len(sequence.tokens) > 1:
        took = time.monotonic() - sequence.first_token_at
        telemetry.ENGINE_TPOT_SECONDS.observe(took / (len(sequence.tokens) - 1))


def threads(count: int) -> None:
    """Tell how many threads steps run on."""
    telemetry.ENGINE_THREADS.set(count)


def load(running: int, waiting: int) -> None:
    """Tell how many sequences hold a slot, and how many are in line."""
    telemetry.ENGINE_RUNNING.set(running)
    telemetry.ENGINE_WAITING.set(waiting)
