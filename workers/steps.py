"""Running one step of a job: from the claim, through the engine, to the record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from celery.exceptions import Reject

from echo_tasks import keys, logs
from echo_tasks.answers import Answers
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import (
    BrokerUnavailable,
    EngineStopped,
    GenerationError,
    JobNotFound,
    RequestRejected,
)
from echo_tasks.ledger import Claim, Ledger
from echo_tasks.memories import Memories, Memory
from echo_tasks.messages import JobError, JobResult, JobSpec, StepOutput, Turn, Usage
from echo_tasks.publishing import HIGHEST, Publisher
from workers import calls, membranes
from workers.calls import Call
from workers.compose import compose
from workers.engine import Engine
from workers.membranes.prompt import STOP, Prompt, past_of
from workers.sequence import GenerationRequest, Sampling
from workers.streams import Stream, StreamWriter

_NO_STATES: Mapping[str, str] = {}

log = logs.get(__name__)


class Steps:
    """What this worker's task bodies run. Several threads call it at once."""

    def __init__(
        self,
        ledger: Ledger,
        publisher: Publisher,
        engine: Engine,
        writer: StreamWriter,
        *,
        node: str,
        model_id: str,
        memories: Memories,
        count_tokens: Callable[[str], int],
        answers: Answers | None = None,
        initial_states: Mapping[str, str] = _NO_STATES,
    ) -> None:
        """`answers` is None where none are cached.

        `initial_states` are the names of those that steps begin in, by step, where a job names none.
        """
        self._ledger = ledger
        self._publisher = publisher
        self._engine = engine
        self._writer = writer
        self._node = node
        self._model_id = model_id
        self._memories = memories
        self._count_tokens = count_tokens
        self._answers = answers
        self._dispatcher = Dispatcher(ledger, publisher, answers)
        self._initial_states = initial_states

    def run(self, job_id: str, step: str) -> None:
        """Run a step to its record. Delivered again after it was recorded, it does nothing twice.

        Raises Reject, which puts the message back, when the fault is the broker's or this worker's.
        """
        with structlog.contextvars.bound_contextvars(job_id=job_id, step=step):
            try:
                self._run(job_id, step)
            except (BrokerUnavailable, EngineStopped) as error:
                log.warning("step handed back", error=str(error))
                raise Reject(str(error), requeue=True) from error
            except JobNotFound:
                log.warning("job is gone")

    def _run(self, job_id: str, step: str) -> None:
        claim = self._ledger.claim(job_id, step)
        if not isinstance(claim, Claim):
            log.info("nothing to do", reason=claim.reason)
            if claim.membranes_done and step != keys.INTEGRATION:
                self._publisher.publish(job_id, [keys.INTEGRATION], HIGHEST)
            elif claim.reason == "ended":  # perhaps by a worker that went no further
                self._settle(job_id)
            return
        with structlog.contextvars.bound_contextvars(session_id=claim.spec.session_id):
            if step == keys.INTEGRATION:
                self._integrate(claim)
            else:
                self._run_membrane(claim.spec, step)

    def _run_membrane(self, spec: JobSpec, step: str) -> None:
        output = self._answer(spec, step, {})
        if self._ledger.record(spec.job_id, step, output):
            self._publisher.publish(spec.job_id, [keys.INTEGRATION], spec.priority)

    def _integrate(self, claim: Claim) -> None:
        self._end(claim)
        self._settle(claim.spec.job_id)

    def _settle(self, job_id: str) -> None:
        job = self._ledger.read(job_id)
        self._dispatcher.settle(job, job.result, job.error)

    def _end(self, claim: Claim) -> None:
        """Compose the answer and end the job with it, or without one."""
        spec = claim.spec
        outputs: dict[str, StepOutput] = {name: claim.outputs[name] for name in spec.membranes}
        failed = {name: output.error for name, output in outputs.items() if output.error is not None}
        if len(failed) == len(outputs):
            rejected = all(output.rejected for output in outputs.values())
            self._ledger.fail(spec, JobError(reason="every membrane failed", rejected=rejected, membranes=failed))
            return
        started = time.monotonic()
        output = self._answer(spec, keys.INTEGRATION, outputs)
        if output.error is not None:
            error = JobError(reason=f"integration failed: {output.error}", rejected=output.rejected, membranes=failed)
            self._ledger.fail(spec, error)
            return
        elapsed_ms = 1000 * claim.running_s + _ms_since(started)
        said = past_of([Turn(user=spec.input_text, assistant=output.text)]).text
        result = compose(
            spec,
            outputs,
            output,
            elapsed_ms=elapsed_ms,
            model_id=self._model_id,
            turn_tokens=self._count_tokens(said),
        )
        if self._answers and claim.stamp is not None and not failed:
            # before the job ends: who has read an answer and asks again, finds it
            self._answers.keep(spec, result, claim.stamp)
        if not self._ledger.succeed(spec, result):
            log.info("job had ended")
            return
        self._read_ahead(spec, result)
        log.info("job answered", elapsed_ms=round(elapsed_ms), **result.usage.model_dump())

    def _read_ahead(self, spec: JobSpec, result: JobResult) -> None:
        """Have the next turn of a session that goes on find the state after this one."""
        if history := self._ledger.turns(spec):
            past = past_of([*history, Turn(user=spec.input_text, assistant=result.response_text)])
            steps = (*spec.membranes, keys.INTEGRATION)
            for initial in dict.fromkeys(self._initial_state(spec, step) for step in steps):
                self._engine.read(past, initial, keys.session_tag(spec.session_id))

    def _initial_state(self, spec: JobSpec, step: str) -> str | None:
        return spec.options.initial_state or self._initial_states.get(step)

    def _answer(self, spec: JobSpec, step: str, outputs: Mapping[str, StepOutput]) -> StepOutput:
        """The step's output; any fault but the broker's and the engine's end becomes the output's error."""
        started = time.monotonic()
        try:
            membrane = membranes.named(step)
            history = self._ledger.turns(spec)
            call = calls.current()
            with self._writer.stream(spec.job_id, step, call.cancelled) as stream:
                prompt = self._fitting(membrane.prompts(spec, history, outputs, self._remembered(spec, step)))
                request = _request(spec, prompt, stream, call, self._initial_state(spec, step))
                generation = self._engine.submit(request).result()
            if generation.finish_reason == "cancelled":
                log.info("step cancelled", tokens=len(generation.tokens))
                return self._failed("cancelled", started)
            fields = {**membrane.fields(spec, generation), **prompt.fields}
        except (BrokerUnavailable, EngineStopped):
            raise
        except Exception as error:
            log.error("step failed", exc_info=not isinstance(error, GenerationError), error=str(error))
            return self._failed(str(error) or repr(error), started, rejected=isinstance(error, RequestRejected))
        log.info(
            "step answered",
            finish=generation.finish_reason,
            tokens=len(generation.tokens),
            queue_ms=round(1000 * generation.queue_s),
            ttft_ms=round(1000 * generation.ttft_s),
            total_ms=round(1000 * generation.total_s),
        )
        return StepOutput(
            text=generation.text.strip(),
            fields=fields | {"finish_reason": generation.finish_reason},
            usage=Usage(
                prompt_tokens=generation.prompt_tokens,
                cached_tokens=generation.cached_tokens,
                completion_tokens=len(generation.tokens),
            ),
            node=self._node,
            elapsed_ms=_ms_since(started),
        )

    def _remembered(self, spec: JobSpec, step: str) -> Sequence[Memory]:
        """What the step may recall of its session, beside the turns."""
        return self._memories.of([spec.session_id]) if step == "memory" and spec.past.memories else []

    def _failed(self, reason: str, started: float, *, rejected: bool = False) -> StepOutput:
        return StepOutput(error=reason, rejected=rejected, node=self._node, elapsed_ms=_ms_since(started))

    def _fitting(self, prompts: Sequence[Prompt]) -> Prompt:
        """The first of the prompts, which get shorter, that the engine takes; the last one for its refusal."""
        return next((prompt for prompt in prompts if self._engine.takes(prompt.text)), prompts[-1])


def _request(spec: JobSpec, prompt: Prompt, stream: Stream, call: Call, initial: str | None) -> GenerationRequest:
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
        deadline=call.deadline,
        marks=prompt.marks,
        owner=keys.session_tag(spec.session_id),
        is_template=prompt.is_template,
        initial_state=initial,
    )


def _ms_since(started: float) -> float:
    return round(1000 * (time.monotonic() - started), 1)
