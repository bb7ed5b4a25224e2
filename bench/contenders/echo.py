"""Our engine, loaded as a worker loads it."""

from __future__ import annotations

import threading
import time

from bench import crowd
from bench.clocked import Clocked
from bench.contenders import Load
from bench.contenders.errand import Errand
from bench.crowd import Measured
from echo_tasks import settings
from workers import model
from workers.engine import Engine
from workers.membranes.prompt import STOP
from workers.sequence import Generation, GenerationRequest, Sampling

_PROMPT_TOKENS = 16
_TEXT = "天地玄黄"  # a token a character

_UNDISTURBED_STEPS = 100


class Echo:
    """The engine, through `submit`: tokenizer, scheduler, sampler and streaming are in what is measured."""

    def __init__(self, load: Load) -> None:
        given = {"echo_model": load.checkpoint, "echo_dtype": load.dtype, "echo_slots": load.rows}
        loaded = model.load(settings.current().model_copy(update=given))
        self._clocked = Clocked(loaded.rwkv)
        self._engine = Engine(self._clocked, loaded.tokenizer, max_prompt_tokens=1 << 20)  # type: ignore[arg-type]
        self._engine.start()

    def decode(self, rows: int, tokens: int) -> float:
        """Tokens a second from when all rows have their first token until the first row ends."""
        answers = self._asked(rows, _PROMPT_TOKENS, tokens)
        begun = max(started + answer.ttft_s for started, answer in answers)
        ended = min(started + answer.total_s for started, answer in answers)
        return sum(
            (len(answer.tokens) - 1) / (answer.total_s - answer.ttft_s) for _, answer in answers if begun < ended
        )

    def prefill(self, tokens: int) -> float:
        """Up to the first token."""
        ((_, answer),) = self._asked(1, tokens, 1)
        return tokens / (answer.ttft_s - answer.queue_s)

    def jobs(self, clients: int, rounds: int, tokens: int) -> Measured:
        """Jobs of one membrane and integration, as a worker's steps ask for them, and nothing around the engine."""
        sampling = Sampling(max_tokens=tokens, stop=tuple(text.encode() for text in STOP))

        def step(prompt: str) -> Generation:
            return self._engine.submit(GenerationRequest(prompt, sampling)).result()

        def ask(number: int) -> int:
            errand = Errand(number)
            first = step(errand.first)
            return len(first.tokens) + len(step(errand.second(first.text)).tokens)

        return crowd.closed(clients, rounds, ask)

    def gaps(self, streams: int, prompt_tokens: int) -> tuple[list[float], list[float]]:
        """Seconds between the tokens of running streams: undisturbed, and while a prompt is read beside them."""
        endless, cancelled = Sampling(temperature=0, max_tokens=1 << 20), threading.Event()
        running = [
            self._engine.submit(GenerationRequest(f"{_TEXT * 4}{stream}", endless, cancelled=cancelled))
            for stream in range(streams)
        ]
        self._clocked.forget()
        while len(alone := self._clocked.steps_s(streams)) < _UNDISTURBED_STEPS:
            time.sleep(0.01)
        prompt = (_TEXT * prompt_tokens)[:prompt_tokens]
        self._engine.submit(GenerationRequest(prompt, Sampling(max_tokens=1))).result()
        beside = self._clocked.steps_s(streams + 1)
        cancelled.set()
        for future in running:
            future.result()
        return alone, beside

    def _asked(self, count: int, prompt_tokens: int, tokens: int) -> list[tuple[float, Generation]]:
        """The answers to as many prompts at once, each with the moment of its start."""
        sampling = Sampling(temperature=0, max_tokens=tokens)
        prompts = [(_TEXT * prompt_tokens)[n % len(_TEXT) :][:prompt_tokens] for n in range(count)]
        futures = [(time.monotonic(), self._engine.submit(GenerationRequest(prompt, sampling))) for prompt in prompts]
        return [(started, future.result()) for started, future in futures]
