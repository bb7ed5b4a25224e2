"""Our engine, loaded as a worker loads it."""

from __future__ import annotations

import time

from bench.contenders import Load
from echo_tasks import settings
from workers import model
from workers.engine import Engine
from workers.sequence import Generation, GenerationRequest, Sampling

_PROMPT_TOKENS = 16
_TEXT = "天地玄黄"  # a token a character


class Echo:
    """The engine, through `submit`: tokenizer, scheduler, sampler and streaming are in what is measured."""

    def __init__(self, load: Load) -> None:
        given = {"echo_model": load.checkpoint, "echo_dtype": load.dtype, "echo_slots": load.rows}
        loaded = model.load(settings.current().model_copy(update=given))
        self._engine = Engine(loaded.rwkv, loaded.tokenizer, max_prompt_tokens=1 << 20)
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

    def _asked(self, count: int, prompt_tokens: int, tokens: int) -> list[tuple[float, Generation]]:
        """The answers to as many prompts at once, each with the moment of its start."""
        sampling = Sampling(temperature=0, max_tokens=tokens)
        prompts = [(_TEXT * prompt_tokens)[n % len(_TEXT) :][:prompt_tokens] for n in range(count)]
        futures = [(time.monotonic(), self._engine.submit(GenerationRequest(prompt, sampling))) for prompt in prompts]
        return [(started, future.result()) for started, future in futures]
