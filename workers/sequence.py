"""What the engine is asked for, what it answers, and a sequence on its way between the two."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal

from echo_tasks.errors import RequestRejected
from workers.detokenizer import Detokenizer
from workers.penalties import Seen
from workers.tokenizer import END_OF_TEXT, Tokenizer

FinishReason = Literal["stop", "length", "cancelled"]

NO_SLOT = -1

MAX_STOP_BYTES = 256
"""Longest stop string."""


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

    def check(self) -> None:
        """Raises RequestRejected with the name of a field that no engine can serve."""
        for name, is_allowed, allowed in (
            ("max_tokens", self.max_tokens >= 1, "at least 1"),
            ("temperature", 0 <= self.temperature < math.inf, "a number from 0"),
            ("top_p", 0 <= self.top_p <= 1, "from 0 to 1"),
            ("top_k", self.top_k >= 0, "at least 0"),
            ("presence_penalty", math.isfinite(self.presence_penalty), "a number"),
            ("frequency_penalty", math.isfinite(self.frequency_penalty), "a number"),
            ("penalty_decay", 0 <= self.penalty_decay <= 1, "from 0 to 1"),
            ("seed", self.seed is None or 0 <= self.seed < 2**64, "from 0 to 2^64 - 1"),
            ("stop", all(0 < len(text) <= MAX_STOP_BYTES for text in self.stop), f"1 to {MAX_STOP_BYTES} bytes each"),
        ):
            if not is_allowed:
                raise RequestRejected(name, f"{getattr(self, name)!r}; allowed: {allowed}")

    def seen(self) -> Seen | None:
        """A record for what an answer says, if that is to matter."""
        if self.presence_penalty == 0 and self.frequency_penalty == 0:
            return None
        return Seen(presence=self.presence_penalty, frequency=self.frequency_penalty, decay=self.penalty_decay)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt to continue. `on_text` is called from the engine's thread and must not block.

    `deadline` is a moment of `time.monotonic`; past it the request fails.
    """

    prompt: str
    sampling: Sampling
    priority: int = 1
    on_text: Callable[[str], None] | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    deadline: float = math.inf


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
    seen: Seen | None
    slot: int = NO_SLOT  # of the model, while the sequence is running
    fed: int = 0
    tokens: list[int] = field(default_factory=list)
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
            seen=request.sampling.seen(),
        )

    def feed(self, count: int) -> tuple[int, ...]:
        """The next `count` tokens of the prompt, or the latest token when that is through."""
        if not self.in_prefill:
            return (self.tokens[-1],)
        start, self.fed = self.fed, self.fed + count
        return tuple(self.prompt[start : self.fed])

    @property
    def unfed(self) -> int:
        """How many tokens of the prompt are still to be fed."""
        return len(self.prompt) - self.fed

    @property
    def in_prefill(self) -> bool:
        return self.fed < len(self.prompt)

    def is_over(self, now: float) -> bool:
        """Whether it was cancelled, or is past its deadline."""
        return self.request.cancelled.is_set() or now >= self.request.deadline

    def accept(self, token: int, logprob: float, tokenizer: Tokenizer) -> FinishReason | None:
        """Take the chosen token, emit the text that is certain now, and tell whether the sequence ended."""
        if not self.tokens:
            self.first_token_at = time.monotonic()
        self.tokens.append(token)
        self.logprob += logprob
        if self.seen is not None:
            self.seen.add(token)
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
