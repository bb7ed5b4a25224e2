"""Running one step of a job: from the claim, through the engine, to the record."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

import structlog
from celery.exceptions import Reject

from echo_tasks import backoff, keys, logs, recovery
from echo_tasks.answers import Answers
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import BrokerUnavailable, EngineStopped, JobNotFound, LeaseLost, RecordDamaged
from echo_tasks.leases import Claim, NothingToDo
from echo_tasks.ledger import Ledger
from echo_tasks.memories import Memories
from echo_tasks.messages import JobError, JobResult, JobSpec, StepOutput, Turn
from echo_tasks.publishing import Publisher
from echo_tasks.telemetry.steps import STEP_QUEUE_SECONDS, STEP_SECONDS
from workers import calls, spans
from workers.answering import Answering, OutOfTime, TryAgain, ms_since
from workers.compose import compose
from workers.engine import Engine
from workers.leases import Leases
from workers.membranes.prompt import past_of
from workers.outcomes import Outcome
from workers.streams import StreamWriter

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
        leases: Leases,
        *,
        node: str,
        model_id: str,
        memories: Memories,
        count_tokens: Callable[[str], int],
        max_deliveries: int,
        answers: Answers | None = None,
        initial_states: Mapping[str, str] = _NO_STATES,
        reads_first_turns: bool = False,
        served: Callable[[StepOutput], None] = lambda _: None,
        refused: Callable[[int], None] = lambda _: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`answers` is None where none are cached.

        `initial_states` are the names of those that steps begin in, by step, where a job names none. A step whose fault
        may pass is tried `max_deliveries` times; `chance`, from 0 to 1, is when. `served` is told what was answered,
        `refused` of which version a job's record is that this worker cannot read.
        `reads_first_turns`: the state after a session's first turn is prepared, too, though most have no second.
        """
        self._ledger = ledger
        self._publisher = publisher
        self._engine = engine
        self._leases = leases
        self._node = node
        self._model_id = model_id
        self._count_tokens = count_tokens
        self._max_deliveries = max_deliveries
        self._answers = answers
        self._reads_first_turns = reads_first_turns
        self._served = served
        self._refused = refused
        self._chance = chance
        self._dispatcher = Dispatcher(ledger, publisher, answers)
        self._answering = Answering(ledger, engine, writer, memories, node=node, initial_states=initial_states)

    def run(self, job_id: str, step: str) -> Outcome:
        """Run a step to its record. Delivered again while it is held or after it was recorded, it does nothing twice.

        The outcome is what the ledger has; that of a step that ended with its job is for the first who finds out.
        Raises Reject, which puts the message back, when the fault is the broker's or this worker's.
        """
        with structlog.contextvars.bound_contextvars(job_id=job_id, step=step):
            began_ns = time.time_ns()
            try:
                claim = self._ledger.steps.claim(job_id, step, self._node)
                with spans.task(job_id, step, claim, began_ns) as span:
                    outcome = self._run(claim) if isinstance(claim, Claim) else self._make_good(job_id, step, claim)
                    spans.came_to(span, outcome)
                    return outcome
            except (BrokerUnavailable, EngineStopped) as error:
                log.warning("step handed back", error=str(error))
                raise Reject(str(error), requeue=True) from error
            except RecordDamaged as damaged:
                self._dispatcher.give_up(damaged)
                return Outcome.FAILED
            except LeaseLost:
                log.warning("step was taken over")
            except JobNotFound:
                log.warning("job is gone")
            return Outcome.NOTHING

    def _make_good(self, job_id: str, step: str, found: NothingToDo) -> Outcome:
        """Do what a worker that went no further than its record, or the job's end, has left undone."""
        log.info("nothing to do", reason=found.reason)
        if found.membranes_done and step != keys.INTEGRATION:
            self._publisher.publish(job_id, [keys.INTEGRATION], keys.HIGHEST)
        elif found.version is not None:
            self._refused(found.version)
        elif found.reason == "ended":
            self._settle(job_id)
            return self._end_of(job_id, step)
        return Outcome.NOTHING

    def _end_of(self, job_id: str, step: str) -> Outcome:
        """How a step ended that ended with its job; nothing where somebody else has told."""
        how = self._ledger.steps.end_of(job_id, step)
        return Outcome(how) if how else Outcome.NOTHING

    def _run(self, claim: Claim) -> Outcome:
        """Run a step while its lease lasts; a fault that is not the step's gives the lease back."""
        with (
            structlog.contextvars.bound_contextvars(session_id=claim.spec.session_id),
            self._leases.held(claim, calls.current().cancelled),
        ):
            began = time.monotonic()
            word = Outcome.FAILED.word
            if claim.waited_s is not None:
                STEP_QUEUE_SECONDS.labels(claim.lease.step).observe(claim.waited_s)
            try:
                outcome = self._perform(claim)
                word = outcome.word
                return outcome
            except (LeaseLost, JobNotFound):
                word = Outcome.NOTHING.word
                raise
            except (BrokerUnavailable, EngineStopped):
                word = "returned"
                self._leases.hand_back(claim.lease)
                raise
            finally:
                STEP_SECONDS.labels(claim.lease.step, word).observe(time.monotonic() - began)

    def _perform(self, claim: Claim) -> Outcome:
        try:
            return self._integrate(claim) if claim.lease.step == keys.INTEGRATION else self._run_membrane(claim)
        except TryAgain as fault:
            delay_s = backoff.delay_s(claim.faults, self._chance())
            log.info("step postponed", delay_s=round(delay_s, 1), faults=claim.faults + 1, error=str(fault))
            is_held = self._ledger.steps.postpone(claim.lease, delay_s)
            return Outcome.POSTPONED if is_held else self._end_of(claim.lease.job_id, claim.lease.step)
        except OutOfTime as over:
            outcome = self._fail(claim, recovery.overdue(claim.spec.timeout_s), Outcome.OVERDUE, over.tokens)
            self._settle(claim.spec.job_id)
            return outcome

    def _run_membrane(self, claim: Claim) -> Outcome:
        spec, output = claim.spec, self._answer(claim, {})
        recorded = self._ledger.steps.record(claim.lease, output)
        if recorded.is_last:
            self._publisher.publish(spec.job_id, [keys.INTEGRATION], spec.priority, spec.session_id)
        if recorded.is_kept:
            return Outcome.of(output)
        self._ledger.steps.charge(claim.lease, output.usage.tokens)
        return self._end_of(spec.job_id, claim.lease.step)

    def _integrate(self, claim: Claim) -> Outcome:
        outcome = self._end(claim)
        self._settle(claim.spec.job_id)
        return outcome

    def _answer(self, claim: Claim, outputs: Mapping[str, StepOutput]) -> StepOutput:
        """The step's output; the fault itself where it has come too often. Raises TryAgain, OutOfTime."""
        try:
            output = self._answering.answer(claim, outputs)
        except TryAgain as fault:
            if claim.faults + 1 < self._max_deliveries:
                raise
            output = fault.output
        self._served(output)
        return output

    def _settle(self, job_id: str) -> None:
        job = self._ledger.read(job_id)
        self._dispatcher.settle(job, job.result, job.error)

    def _end(self, claim: Claim) -> Outcome:
        """Compose the answer and end the job with it, or without one."""
        spec, lease = claim.spec, claim.lease
        outputs: dict[str, StepOutput] = {name: claim.outputs[name] for name in spec.membranes}
        failed = {name: output.error for name, output in outputs.items() if output.error is not None}
        if len(failed) == len(outputs):
            rejected = all(output.rejected for output in outputs.values())
            error = JobError(reason="every membrane failed", rejected=rejected, membranes=failed)
            return self._fail(claim, error, Outcome.REJECTED if rejected else Outcome.FAILED)
        started = time.monotonic()
        output = self._answer(claim, outputs)
        if output.error is not None:
            error = JobError(reason=f"integration failed: {output.error}", rejected=output.rejected, membranes=failed)
            outcome = Outcome.REJECTED if output.rejected else Outcome.FAILED
            return self._fail(claim, error, outcome, output.usage.tokens)
        elapsed_ms = 1000 * claim.running_s + ms_since(started)
        said = past_of([Turn(user=spec.input_text, assistant=output.text)]).text
        result = compose(
            spec,
            outputs,
            output,
            elapsed_ms=elapsed_ms,
            model_id=self._model_id,
            turn_tokens=self._count_tokens(said),
        )
        if self._answers and claim.stamp is not None and not failed and self._leases.holds(lease):
            # before the job ends: who has read an answer and asks again, finds it
            self._answers.keep(spec, result, claim.stamp)
        if not self._ledger.succeed(spec, result, lease):
            log.info("job had ended")
            self._ledger.steps.charge(lease, output.usage.tokens)
            return self._ended_before(claim, Outcome.SUCCEEDED)
        self._read_ahead(spec, result)
        log.info("job answered", elapsed_ms=round(elapsed_ms), **result.usage.model_dump())
        return Outcome.SUCCEEDED

    def _fail(self, claim: Claim, error: JobError, outcome: Outcome, tokens: int = 0) -> Outcome:
        """End the job without an answer, after so many tokens for this step; the outcome of the step that does."""
        is_first = self._ledger.fail(claim.spec, error, claim.lease)
        self._ledger.steps.charge(claim.lease, tokens)
        return outcome if is_first else self._ended_before(claim, outcome)

    def _ended_before(self, claim: Claim, wanted: Outcome) -> Outcome:
        """The outcome of a step that found its job ended: by another, or by its own hand, of which no answer came."""
        found = self._end_of(claim.lease.job_id, claim.lease.step)
        if found is Outcome.NOTHING and self._ledger.read(claim.lease.job_id).status.value == wanted.word:
            return wanted
        return found

    def _read_ahead(self, spec: JobSpec, result: JobResult) -> None:
        """Have the next turn of a session that goes on find the state after this one."""
        history = self._ledger.turns(spec)
        if history or self._reads_first_turns:
            past = past_of([*history, Turn(user=spec.input_text, assistant=result.response_text)])
            steps = (*spec.membranes, keys.INTEGRATION)
            for initial in dict.fromkeys(self._answering.initial_state(spec, step) for step in steps):
                self._engine.read(past, initial, keys.session_tag(spec.session_id))
