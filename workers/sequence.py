"""What the engine is asked for, what it answers, and a sequence on its way between the two."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from workers.detokenizer import Detokenizer
from workers.tokenizer import END_OF_TEXT, Tokenizer

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 is greedy; `top_k` 0 is no limit; `seed` None is random."""

    max_tokens: int = 64
    temperature: float = 1.0
    top_p: float = 0.9
    top_k: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_decay: float = 0.996
    seed: int | None = None
    stop: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt to continue. `on_text` is called from the engine's thread and must not block."""

    prompt: str
    sampling: Sampling
    priority: int = 1
    on_text: Callable[[str], None] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Generation:
    """The engine's answer. `mean_logprob` is over the chosen tokens, by the model's own distribution."""

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    mean_logprob: float
    queue_s: float
    ttft_s: float
    total_s: float


@dataclass(slots=True, eq=False)
class Sequence:
    """A request in the engine: what of its prompt is still to be fed, and what it has generated."""

    request: GenerationRequest
    prompt: list[int]
    future: Future[Generation]
    detokenizer: Detokenizer
    random: random.Random
    submitted_at: float
    state: Any = None  # the model's, while the sequence holds a slot
    fed: int = 0
    tokens: list[int] = field(default_factory=list)
    counts: dict[int, float] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    logprob: float = 0.0
    admitted_at: float = 0.0
    first_token_at: float = 0.0

    @classmethod
    def start(cls, request: GenerationRequest, prompt: list[int]) -> Sequence:
        """A new sequence, with its future pending."""
        return cls(
            request=request,
            prompt=prompt,
            future=Future(),
            detokenizer=Detokenizer(request.sampling.stop),
            random=random.Random(request.sampling.seed),  # noqa: S311 - sampling, not secrets
            submitted_at=time.monotonic(),
        )

    def next_input(self, budget: int) -> list[int]:
        """The tokens to feed now: the prompt's next chunk of up to `budget`, or the latest token."""
        if self.fed < len(self.prompt):
            chunk = self.prompt[self.fed : self.fed + budget]
            self.fed += len(chunk)
            return chunk
        return self.tokens[-1:]

    @property
    def in_prefill(self) -> bool:
        return self.fed < len(self.prompt)

    def accept(self, token: int, logprob: float, tokenizer: Tokenizer) -> FinishReason | None:
        """Take the chosen token, emit the text that is certain now, and tell whether the sequence ended."""
        if not self.tokens:
            self.first_token_at = time.monotonic()
        self.tokens.append(token)
        self.logprob += logprob
        decay = self.request.sampling.penalty_decay
        self.counts = {seen: count * decay for seen, count in self.counts.items()}
        self.counts[token] = self.counts.get(token, 0.0) + 1.0
        if token == END_OF_TEXT:
            return "stop"
        self._emit(self.detokenizer.push(tokenizer.decode([token])))
        if self.detokenizer.stopped:
            return "stop"
        return "length" if len(self.tokens) >= self.request.sampling.max_tokens else None

    def finish(self, reason: FinishReason) -> None:
        """Emit what was held back, and resolve the future."""
        if not self.detokenizer.stopped:
            self._emit(self.detokenizer.flush())
        now = time.monotonic()
        self.future.set_result(
            Generation(
                text="".join(self.text),
                tokens=tuple(self.tokens),
                finish_reason=reason,
                prompt_tokens=len(self.prompt),
                cached_tokens=0,
                mean_logprob=self.logprob / max(1, len(self.tokens)),
                queue_s=(self.admitted_at or now) - self.submitted_at,
                ttft_s=(self.first_token_at or now) - self.submitted_at,
                total_s=now - self.submitted_at,
            )
        )

    def _emit(self, text: str) -> None:
        if text:
            self.text.append(text)
            if self.request.on_text is not None:
                self.request.on_text(text)
