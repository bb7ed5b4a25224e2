"""The engine: one thread that steps all of a worker's sequences through one model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from echo_tasks import logs
from echo_tasks.errors import EngineStopped, GenerationError, PromptRejected
from workers.rwkv7 import RWKV7
from workers.sampler import Sampler
from workers.scheduler import Scheduler
from workers.sequence import FinishReason, Generation, GenerationRequest, Sequence
from workers.tokenizer import Tokenizer

PREFILL_CHUNK_TOKENS = 256

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
        slots: int = 1,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._max_prompt_tokens = max_prompt_tokens
        self._on_death = on_death
        self._sampler = Sampler(tokenizer.undecodable(model.shape.vocabulary))
        self._scheduler = Scheduler(slots)
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Start the engine's thread."""
        self._thread.start()

    def takes(self, prompt: str) -> bool:
        """Whether the prompt is neither empty nor over the limit."""
        return 0 < len(self._tokenizer.encode(prompt)) <= self._max_prompt_tokens

    def submit(self, request: GenerationRequest) -> Future[Generation]:
        """Put a request in line; its future resolves with the answer, or raises GenerationError.

        Raises PromptRejected for a prompt that can never be answered, EngineStopped after `stop`.
        """
        prompt = self._tokenizer.encode(request.prompt)
        if not prompt:
            raise PromptRejected("prompt", "no tokens")
        if len(prompt) > self._max_prompt_tokens:
            raise PromptRejected("prompt", f"{len(prompt)} tokens; at most {self._max_prompt_tokens} are taken")
        sequence = Sequence.start(request, prompt)
        with self._changed:
            if self._stopping:
                raise EngineStopped("the engine has stopped")
            self._scheduler.add(sequence)
            self._changed.notify()
        return sequence.future

    def stop(self) -> None:
        """End the thread after its current step; what has not ended raises EngineStopped. Blocks."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._abandon()

    def _run(self) -> None:
        try:
            while self._admit():
                for sequence in tuple(self._scheduler.running):
                    self._step(sequence)
        except Exception:  # the outermost loop of the thread
            log.exception("engine died")
            self._on_death()
        finally:
            self._abandon()

    def _admit(self) -> bool:
        """Wait for work and give free slots away; false when the engine stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or not self._scheduler.idle)
            if self._stopping:
                return False
            admitted = self._scheduler.admit()
        for sequence in admitted:
            self._begin(sequence)
        return True

    def _begin(self, sequence: Sequence) -> None:
        """Give an admitted sequence its state, unless its caller has given its future up."""
        if not sequence.future.set_running_or_notify_cancel():
            return self._release(sequence)
        sequence.admitted_at = time.monotonic()
        try:
            sequence.state = self._model.zero_state()
        except (RuntimeError, MemoryError) as error:
            self._fail(sequence, error)

    def _step(self, sequence: Sequence) -> None:
        """Feed a chunk of the prompt or the latest token, sample, and emit."""
        if sequence.request.cancelled.is_set():
            return self._finish(sequence, "cancelled")
        try:
            logits = self._model.forward(sequence.next_input(PREFILL_CHUNK_TOKENS), sequence.state)
            if sequence.in_prefill:
                return None
            sampling = sequence.request.sampling
            token, logprob = self._sampler.choose(logits, sampling, sequence.counts, sequence.random)
        except (GenerationError, RuntimeError, MemoryError) as error:
            return self._fail(sequence, error)
        try:
            reason = sequence.accept(token, logprob, self._tokenizer)
        except Exception as error:  # noqa: BLE001 - the caller's `on_text` may raise anything: its own sequence ends
            return self._fail(sequence, error)
        if reason:
            self._finish(sequence, reason)

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        self._release(sequence)
        sequence.finish(reason)

    def _fail(self, sequence: Sequence, error: Exception) -> None:
        """End one sequence by a fault of its own, out of memory included; the others go on."""
        log.error("sequence failed", exc_info=error, prompt_tokens=len(sequence.prompt))
        self._release(sequence)
        failure = error if isinstance(error, GenerationError) else GenerationError(repr(error))
        failure.__cause__ = None if failure is error else error
        sequence.future.set_exception(failure)

    def _release(self, sequence: Sequence) -> None:
        sequence.state = None
        with self._changed:
            self._scheduler.release(sequence)

    def _abandon(self) -> None:
        with self._changed:
            self._stopping = True
            left = self._scheduler.drain()
        for sequence in left:
            if sequence.admitted_at or sequence.future.set_running_or_notify_cancel():
                sequence.future.set_exception(EngineStopped("the engine stopped before the answer was whole"))
