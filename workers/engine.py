"""The engine: one thread that steps all of a worker's sequences together through one model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress

from echo_tasks import logs, tracing
from echo_tasks.errors import DeadlineExceeded, EngineFaulted, EngineStopped, GenerationError
from workers import metering, spans
from workers.batch import Batch, Segment
from workers.intake import Intake
from workers.membranes.prompt import Prompt
from workers.prefixes import Prefixes
from workers.rewind import Rewind
from workers.rwkv7 import RWKV7
from workers.sampler import Choice, Row
from workers.scheduler import Scheduler
from workers.sequence import NO_SLOT, Generation, GenerationRequest, Sequence
from workers.threads import Threads
from workers.tokenizer import Tokenizer
from workers.tuned import Tuned

PREFILL_TOKENS = 32
"""Tokens of prompts that are fed in a step while others generate, beside one for each sequence that runs."""

LATEST_SHARE = 0.05
"""What the latest step counts for in the mean of how long they take."""

_NONE: Mapping[str, Tuned] = {}

log = logs.get(__name__)


class Engine:
    """Answers generation requests from one model. `submit` may be called from any thread."""

    def __init__(
        self,
        model: RWKV7,
        tokenizer: Tokenizer,
        *,
        max_prompt_tokens: int,
        on_death: Callable[[], None] = lambda: None,
        max_waiting: int = 4096,
        prefill_tokens: int = PREFILL_TOKENS,
        prefixes: Prefixes | None = None,
        tuned: Mapping[str, Tuned] = _NONE,
    ) -> None:
        """`prefixes` are where the states of prompts' beginnings are found and kept; `tuned` are initial states."""
        self._model = model
        self._tokenizer = tokenizer
        self._intake = Intake(tokenizer, prefixes, tuned, max_prompt_tokens=max_prompt_tokens)
        self._on_death = on_death
        self._prefixes = prefixes
        self._sampler = model.sampler(tokenizer.undecodable(model.shape.vocabulary))
        self._scheduler = Scheduler(
            model.slots.count,
            prefill_tokens=prefill_tokens,
            max_tokens=model.max_tokens,
            max_waiting=max_waiting,
        )
        self._threads = Threads(model.threads, time.monotonic)
        self._changed = threading.Condition()
        self._stopping = False
        self.generated = 0
        """Tokens so far."""
        self.token_s = 0.0
        """Seconds that each token of a step takes, of late; 0 before the first."""
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the engine's thread."""
        metering.threads(self._threads.now)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def takes(self, prompt: str) -> bool:
        """Whether the prompt is neither empty nor over the limit."""
        return self._intake.takes(prompt)

    def read(self, prompt: Prompt, initial: str | None = None, owner: str | None = None) -> None:
        """Have the state after the last mark kept, if it is not yet known, when there is time. Does not block."""
        with suppress(GenerationError):  # full or stopped: then it is not known
            sequence = self._intake.read(prompt, initial, owner)
            if sequence.marks:
                self._add(sequence, join=False)

    def submit(self, request: GenerationRequest) -> Future[Generation]:
        """Put a request in line; its future resolves with the answer, or raises GenerationError.

        Raises RequestRejected for what can never be answered, EngineFull, and EngineStopped after `stop`.
        """
        request.sampling.check()
        sequence = self._intake.asked(request)
        self._add(sequence)
        return sequence.future

    def stop(self) -> None:
        """End the thread after its current step; what has not ended raises EngineStopped. Blocks."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._abandon()

    def _add(self, sequence: Sequence, *, join: bool = True) -> None:
        """Put a sequence in line; without `join` only if no other is on its way to its last mark."""
        with self._changed:
            if self._stopping:
                raise EngineStopped("the engine has stopped")
            if join or not self._scheduler.leads_to(sequence.marks[-1].key):
                self._scheduler.add(sequence)
                self._changed.notify()

    def _run(self) -> None:
        try:
            while self._admit():
                self._step()
        except Exception:  # the outermost loop of the thread
            log.exception("engine died")
            self._on_death()
        finally:
            self._abandon()

    def _admit(self) -> bool:
        """Wait for work, end what is over, and give free slots away; false when the engine stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or not self._scheduler.idle)
            if self._stopping:
                return False
            over = self._scheduler.over(time.monotonic())
        for sequence in over:
            self._give_up(sequence)
        with self._changed:
            admitted = self._scheduler.admit()
            self._tell_load()
        for sequence in admitted:
            self._begin(sequence)
        return True

    def _begin(self, sequence: Sequence) -> None:
        """Give an admitted sequence its slot, unless its caller has given its future up."""
        if not sequence.future.set_running_or_notify_cancel():
            return self._release(sequence)
        sequence.admitted_at = time.monotonic()
        sequence.slot = self._model.slots.take(sequence.state)
        sequence.state = None
        metering.admitted(sequence)

    def _step(self) -> None:
        """Feed every running sequence, choose for those whose prompt is through, and emit."""
        plan = self._scheduler.plan()
        if not plan:
            return
        self._model.watch.start()
        prefilled = sum(count for sequence, count in plan if sequence.in_prefill)
        fed = [(sequence, sequence.feed(count)) for sequence, count in plan]
        through = [sequence for sequence, _ in fed if not sequence.in_prefill]
        ended = [sequence for sequence in through if sequence.ending]
        ready = [sequence for sequence in through if not sequence.ending]
        segments = [Segment(one.slot, tokens, not one.in_prefill and not one.ending) for one, tokens in fed]
        try:
            choices = self._choose(Batch(tuple(segments)), ready)
        except (RuntimeError, MemoryError) as error:  # the states may be anything now
            for sequence, _ in fed:
                self._fail(sequence, error, EngineFaulted(repr(error)))
            return
        for sequence, _ in fed:
            if sequence.is_at_mark:
                self._keep(sequence)
        for sequence in ended:
            self._finish(sequence)
        for sequence, choice in zip(ready, choices, strict=True):
            self._accept(sequence, choice)
        self._model.watch.lap("overhead")
        took_s = sum(self._model.watch.seconds.values())
        self._note_time(sum(len(tokens) for _, tokens in fed), took_s)
        self.token_s += (LATEST_SHARE if self.token_s else 1.0) * (took_s - self.token_s)
        metering.step(len(fed), prefilled, self._model.watch)
        if tracing.is_on():
            spans.step([sequence.request for sequence, _ in fed], prefilled, self._model.watch)

    def _note_time(self, tokens: int, took_s: float) -> None:
        """Have the next step on as many threads as such times call for."""
        before = self._threads.now
        self._threads.note(tokens, took_s)
        if self._threads.now != before:
            self._model.run_on(self._threads.now)
            metering.threads(self._threads.now)

    def _keep(self, sequence: Sequence) -> None:
        """Keep the state at the sequence's mark, and have those go on from it who waited for it."""
        state = self._model.slots.copy(sequence.slot)
        if self._prefixes is not None:
            self._prefixes.keep(sequence.marks[0], state)
        with self._changed:
            self._scheduler.passed(sequence, state)

    def _choose(self, batch: Batch, ready: list[Sequence]) -> list[Choice]:
        logits = self._model.forward(batch)
        if not ready:
            return []
        rows = [Row(one.request.sampling, one.random.getrandbits(64), one.seen) for one in ready]
        self._model.watch.lap("overhead")
        choices = self._sampler.choose(logits, rows)
        self._model.watch.lap("sampling")
        return choices

    def _accept(self, sequence: Sequence, choice: Choice) -> None:
        if choice.token is None:
            return self._fail(sequence, GenerationError("the model's logits are not finite numbers"))
        try:
            self.generated += 1
            sequence.accept(choice.token, choice.logprob, self._tokenizer)
        except Exception as error:  # noqa: BLE001 - the caller's `on_text` may raise anything: its own sequence ends
            return self._fail(sequence, error)
        if sequence.rewind is not None:
            self._rewind(sequence, sequence.rewind)
        if sequence.ending and not sequence.in_prefill:
            self._finish(sequence)

    def _rewind(self, sequence: Sequence, rewind: Rewind) -> None:
        """See to it that the sequence can end in the state exactly after its text."""
        slots, certain = self._model.slots, sequence.detokenizer.certain_bytes
        if not sequence.ending:
            return rewind.keep(certain, lambda: slots.copy(sequence.slot))
        state, sequence.known = rewind.to(certain, self._tokenizer)
        sequence.fed = 0
        if state is not None:
            slots.restore(sequence.slot, state)

    def _give_up(self, sequence: Sequence) -> None:
        """End a sequence that the scheduler has let go of: cancelled, or past its deadline."""
        if sequence.slot == NO_SLOT and not sequence.future.set_running_or_notify_cancel():
            return
        self._leave(sequence)
        if sequence.request.cancelled.is_set():
            metering.ended(sequence, "cancelled")
            sequence.finish()
        else:
            metering.ended(sequence, "deadline")
            sequence.future.set_exception(DeadlineExceeded(sequence.read + len(sequence.tokens)))

    def _finish(self, sequence: Sequence) -> None:
        state = self._model.slots.copy(sequence.slot) if sequence.request.keep else None
        self._release(sequence)
        metering.ended(sequence, sequence.ending or "cancelled")
        sequence.finish(state)

    def _fail(self, sequence: Sequence, error: Exception, told: GenerationError | None = None) -> None:
        """End one sequence by a fault of its own, out of memory included; the others go on."""
        log.error("sequence failed", exc_info=error, prompt_tokens=sequence.prompt_tokens)
        self._release(sequence)
        metering.ended(sequence, "failed")
        failure = error if isinstance(error, GenerationError) else told or GenerationError(repr(error))
        failure.__cause__ = None if failure is error else error
        sequence.future.set_exception(failure)

    def _release(self, sequence: Sequence) -> None:
        self._leave(sequence)
        with self._changed:
            self._scheduler.release(sequence)
            self._tell_load()

    def _leave(self, sequence: Sequence) -> None:
        """Have a sequence's slot free again."""
        if sequence.slot != NO_SLOT:
            self._model.slots.give_back(sequence.slot)
            sequence.slot = NO_SLOT

    def _tell_load(self) -> None:
        metering.load(len(self._scheduler.running), self._scheduler.waiting)

    def _abandon(self) -> None:
        with self._changed:
            self._stopping = True
            left = self._scheduler.drain()
            self._tell_load()
        for sequence in left:
            self._leave(sequence)
            if sequence.admitted_at or sequence.future.set_running_or_notify_cancel():
                sequence.future.set_exception(EngineStopped("the engine stopped before the answer was whole"))
