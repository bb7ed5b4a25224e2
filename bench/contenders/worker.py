"""A worker's engine with its states, without its tasks: what it has read, another one finds in the store."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench.contenders import Load
from cache.assembly import Assembly
from echo_tasks import connections, settings
from workers import keeping, model
from workers.engine import Engine
from workers.membranes.prompt import Prompt
from workers.sequence import GenerationRequest, Sampling


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt's answer: seconds from the question to the first token, and how many tokens needed no prefill."""

    ttft_s: float
    prompt_tokens: int
    cached_tokens: int
    text: str


class Worker:
    """One of several; `store` is the URL of the server that they share."""

    def __init__(self, load: Load, *, store: str) -> None:
        given = {"echo_model": load.checkpoint, "echo_dtype": load.dtype, "echo_slots": load.rows, "cache_url": store}
        chosen = settings.current().model_copy(update=given)
        loaded = model.load(chosen)
        assembly = Assembly(
            policy=chosen.eviction_policy,
            store=connections.hasty(store),
            steady=connections.impatient(store),  # for tags, of which there are none here
            folder=chosen.disk_cache,
            disk_mb=0,
            sweep_every_s=chosen.cleanup_interval,
        )
        self._prefixes = keeping.prefixes(loaded, chosen, assembly)
        self._engine = Engine(
            loaded.rwkv, loaded.tokenizer, max_prompt_tokens=chosen.echo_max_prompt_tokens, prefixes=self._prefixes
        )
        self._prefixes.start()
        self._engine.start()

    def answer(self, prompt: Prompt, tokens: int) -> Answered:
        """Greedy; what it leaves in the cache is there when it returns."""
        sampling = Sampling(temperature=0, max_tokens=tokens)
        asked = time.monotonic()
        answer = self._engine.submit(GenerationRequest(prompt.text, sampling, marks=prompt.marks)).result()
        ttft_s = time.monotonic() - asked - (answer.total_s - answer.ttft_s)
        self._prefixes.settle()
        return Answered(ttft_s, answer.prompt_tokens, answer.cached_tokens, answer.text)
