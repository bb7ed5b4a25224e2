"""What a worker tells of its work in traces: a span a task, one a generation, and one a step of the engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager

from echo_tasks import keys, logs, tracing
from echo_tasks.leases import Claim, NothingToDo
from echo_tasks.tracing import NO_TRACE, Span, Value
from workers import calls
from workers.outcomes import Outcome
from workers.sequence import Generation, GenerationRequest
from workers.stopwatch import Stopwatch

_MOST_LINKS = 128


def task(job_id: str, step: str, found: Claim | NothingToDo, began_ns: int) -> AbstractContextManager[Span]:
    """The span of a delivery of a step, from the moment that its task began.

    It is of the job's trace, whoever published the message; a delivery that finds nothing to do is of its message's.
    """
    told: dict[str, Value] = {
        "messaging.system": "celery",
        "messaging.destination.name": keys.queue(step),
        "messaging.message.id": f"{job_id}.{step}",
        "echo.job_id": job_id,
        "echo.step": step,
    }
    of = NO_TRACE
    if isinstance(found, Claim):
        of = found.spec.trace
        told |= {"echo.session_id": found.spec.session_id, "echo.delivery": found.lease.token}
        told |= {"echo.faults": found.faults}
    else:
        told |= {"echo.nothing_to_do": found.reason}
    name = f"run {keys.task(step)}"
    return tracing.span(
        name, "consumer", of=of, caller=tracing.carried(calls.headers()), attributes=told, began_ns=began_ns
    )


def came_to(span: Span, outcome: Outcome) -> None:
    """Tell what became of a delivery."""
    word = outcome.name.lower()
    span.set({"echo.outcome": word})
    if outcome.word == "failed":
        span.fail(word)


def generated(span: Span, request: GenerationRequest, answer: Generation, began_ns: int) -> None:
    """Tell how a generation that began at that moment went."""
    span.set(
        {
            "echo.queue_wait_s": answer.queue_s,
            "echo.prefill_s": answer.ttft_s - answer.queue_s,
            "echo.cached_tokens": answer.cached_tokens,
            "echo.cached_in": answer.cached_in,
            "echo.finish_reason": answer.finish_reason,
            "gen_ai.usage.input_tokens": answer.prompt_tokens,
            "gen_ai.usage.output_tokens": len(answer.tokens),
            **logs.texts(prompt=request.prompt, text=answer.text),
        }
    )
    span.event("slot taken", began_ns + _ns(answer.queue_s))
    if answer.tokens:
        span.event("first token", began_ns + _ns(answer.ttft_s))


def step(requests: Sequence[GenerationRequest], prefilled: int, watch: Stopwatch) -> None:
    """Record a step of the engine that has just ended, linked to those of its generations that are traced, if any."""
    traced = [request.span for request in requests if request.span is not None]
    if not traced:
        return
    ended_ns = time.time_ns()
    told: dict[str, Value] = {"echo.sequences": len(requests), "echo.prefill_tokens": prefilled}
    told |= {f"echo.{part}_s": seconds for part, seconds in watch.seconds.items()}
    began_ns = ended_ns - _ns(sum(watch.seconds.values()))
    tracing.linking("engine step", traced[:_MOST_LINKS], attributes=told, began_ns=began_ns, ended_ns=ended_ns)


def _ns(seconds: float) -> int:
    return round(1e9 * seconds)
