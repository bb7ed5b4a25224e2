"""The engine's answer to one step of a job, as the step's output."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from echo_tasks import keys, logs, tracing
from echo_tasks.errors import (
    BrokerUnavailable,
    DeadlineExceeded,
    EngineStopped,
    GenerationError,
    RequestRejected,
)
from echo_tasks.leases import Claim
from echo_tasks.ledger import Ledger
from echo_tasks.memories import Memories, Memory
from echo_tasks.messages import JobSpec, StepOutput, Usage
from workers import calls, membranes, spans
from workers.calls import Call
from workers.engine import Engine
from workers.membranes.prompt import STOP, Prompt
from workers.sequence import Generation, GenerationRequest, Sampling
from workers.streams import Stream, StreamWriter

log = logs.get(__name__)


class TryAgain(Exception):
    """The step failed in a way that may pass; `output` tells how."""

    def __init__(self, output: StepOutput) -> None:
        super().__init__(output.error)
        self.output = output


class OutOfTime(Exception):
    """The time that the job has is over; `tokens` had been read and generated for the step."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens


class Answering:
    """Asks the engine what membranes ask of it. Threads may share it."""

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        writer: StreamWriter,
        memories: Memories,
        *,
        node: str,
        initial_states: Mapping[str, str],
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._writer = writer
        self._memories = memories
        self._node = node
        self._initial_states = initial_states

    def initial_state(self, spec: JobSpec, step: str) -> str | None:
        """The name of the state that a step of the job begins in."""
        return spec.options.initial_state or self._initial_states.get(step)

    def answer(self, claim: Claim, outputs: Mapping[str, StepOutput]) -> StepOutput:
        """The step's output; a fault of the step's own is the output's error.

        Raises TryAgain for one that may pass, OutOfTime, BrokerUnavailable, and EngineStopped.
        """
        started = time.monotonic()
        try:
            return self._answer(claim, outputs, started)
        except (BrokerUnavailable, EngineStopped):
            raise
        except Exception as error:
            if isinstance(error, DeadlineExceeded) and time.monotonic() >= claim.deadline:
                raise OutOfTime(error.tokens) from error
            log.error("step failed", exc_info=not isinstance(error, GenerationError), error=str(error))
            failed = self._failed(str(error) or repr(error), started, rejected=isinstance(error, RequestRejected))
            if isinstance(error, GenerationError) and error.may_pass:
                raise TryAgain(failed) from error
            return failed

    def _answer(self, claim: Claim, outputs: Mapping[str, StepOutput], started: float) -> StepOutput:
        spec, step = claim.spec, claim.lease.step
        membrane = membranes.named(step)
        history = self._ledger.turns(spec)
        call = calls.current()
        with self._writer.stream(claim.lease, call.cancelled) as stream:
            prompt = self._fitting(membrane.prompts(spec, history, outputs, self._remembered(spec, step)))
            request = _request(spec, prompt, stream, call, self.initial_state(spec, step), claim.deadline)
            if asked := logs.texts(prompt=prompt.text):
                log.info("step asks", **asked)
            generation = self._generate(request)
        if generation.finish_reason == "cancelled":
            log.info("step cancelled", tokens=len(generation.tokens))
            return self._failed("cancelled", started, cancelled=True, usage=_usage(generation))
        fields = {**membrane.fields(spec, generation), **prompt.fields}
        return self._output(generation, fields, started)

    def _generate(self, request: GenerationRequest) -> Generation:
        began_ns = time.time_ns()
        with tracing.span("generate", began_ns=began_ns) as span:
            asked = replace(request, span=span) if span.is_recorded else request
            generation = self._engine.submit(asked).result()
            spans.generated(span, asked, generation, began_ns)
        return generation

    def _output(self, generation: Generation, fields: Mapping[str, object], started: float) -> StepOutput:
        log.info(
            "step answered",
            finish=generation.finish_reason,
            tokens=len(generation.tokens),
            queue_ms=round(1000 * generation.queue_s),
            ttft_ms=round(1000 * generation.ttft_s),
            total_ms=round(1000 * generation.total_s),
            **logs.texts(text=generation.text),
        )
        return StepOutput(
            text=generation.text.strip(),
            fields={
                **fields,
                "finish_reason": generation.finish_reason,
                "state_tier": generation.cached_in,
                "state_tokens": generation.cached_tokens,
            },
            usage=_usage(generation),
            node=self._node,
            elapsed_ms=ms_since(started),
        )

    def _remembered(self, spec: JobSpec, step: str) -> Sequence[Memory]:
        """What the step may recall of its session, beside the turns."""
        return self._memories.of([spec.session_id]) if step == "memory" and spec.past.memories else []

    def _failed(
        self,
        reason: str,
        started: float,
        *,
        rejected: bool = False,
        cancelled: bool = False,
        usage: Usage = Usage(),  # noqa: B008 - frozen
    ) -> StepOutput:
        return StepOutput(
            error=reason,
            rejected=rejected,
            cancelled=cancelled,
            usage=usage,
            node=self._node,
            elapsed_ms=ms_since(started),
        )

    def _fitting(self, prompts: Sequence[Prompt]) -> Prompt:
        """The first of the prompts, which get shorter, that the engine takes; the last one for its refusal."""
        return next((prompt for prompt in prompts if self._engine.takes(prompt.text)), prompts[-1])


def ms_since(started: float) -> float:
    """Milliseconds since a moment of `time.monotonic`, to a tenth."""
    return round(1000 * (time.monotonic() - started), 1)


def _usage(generation: Generation) -> Usage:
    return Usage(
        prompt_tokens=generation.prompt_tokens,
        cached_tokens=generation.cached_tokens,
        completion_tokens=len(generation.tokens),
    )


def _request(
    spec: JobSpec, prompt: Prompt, stream: Stream, call: Call, initial: str | None, deadline: float
) -> GenerationRequest:
    options = spec.options
    sampling = Sampling(
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        penalty_decay=options.penalty_decay,
        seed=options.seed,
        stop=tuple(text.encode() for text in (*options.stop, *STOP)),
    )
    return GenerationRequest(
        prompt.text,
        sampling,
        priority=spec.priority,
        on_text=stream.write,
        cancelled=call.cancelled,
        deadline=min(call.deadline, deadline),
        marks=prompt.marks,
        owner=keys.session_tag(spec.session_id),
        is_template=prompt.is_template,
        initial_state=initial,
    )
