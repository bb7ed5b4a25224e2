"""What the engine is asked for, what it answers, and a sequence on its way between the two."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from echo_tasks.errors import RequestRejected
from echo_tasks.tracing import Span
from workers.detokenizer import Detokenizer
from workers.marks import Mark
from workers.penalties import Seen
from workers.rewind import Rewind
from workers.tokenizer import END_OF_TEXT, Tokenizer

FinishReason = Literal["stop", "length", "cancelled", "read"]
"""`read`: the prompt was wanted in the cache, and no answer."""

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
    marks: tuple[int, ...] = ()
    """Where, in characters, the prompt has beginnings that others share; the state after the last of them is kept."""
    owner: str | None = None
    """A tag that the states which are kept of the prompt go with."""
    is_template: bool = False
    """Whether the marks end a template: the states there are nobody's."""
    initial_state: str | None = None
    """The name of a tuned state that the prompt begins in; `state` comes before it."""
    state: Any = None
    """What a like model has seen before the prompt (`workers.slots.State`); None: nothing."""
    keep: bool = False
    """Whether the answer is to come with the state after it."""
    span: Span | None = None
    """The generation's, if it is traced."""


@dataclass(frozen=True, slots=True)
class Generation:
    """The engine's answer. `mean_logprob` is over the chosen tokens, by the model's own distribution.

    `prompt_tokens` are those of the prompt that were read: all, unless it was cancelled. `cached_tokens` are those of
    them whose state was known, and `cached_in` is the tier that had it, or `engine` if that was another sequence's.
    `state`, where it was asked for and the answer was not cancelled, has seen the prompt and the text, and nothing of a
    stop string or the end of the text.
    """

    text: str
    tokens: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    mean_logprob: float
    queue_s: float
    ttft_s: float
    total_s: float
    state: Any = None
    cached_in: str | None = None


@dataclass(slots=True, eq=False)
class Sequence:
    """A request in the engine: what is still to be fed of its prompt or its end, and what it has generated."""

    request: GenerationRequest
    prompt_tokens: int
    known: list[int]  # to be fed without choosing: the prompt, or what leads to the state that is kept
    future: Future[Generation]
    detokenizer: Detokenizer
    random: random.Random
    submitted_at: float
    seen: Seen | None
    rewind: Rewind | None
    state: Any = None  # to begin with, until it has its slot
    cached_tokens: int = 0  # of the prompt, that this state has seen
    cached_in: str | None = None  # where it was found
    marks: list[Mark] = field(default_factory=list)  # ahead of it in the prompt, the nearest first
    slot: int = NO_SLOT  # of the model, while the sequence is running
    fed: int = 0  # of what is known
    ending: FinishReason | None = None  # set when nothing more is chosen; the state to keep may still be wanting
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
            prompt_tokens=len(prompt),
            known=prompt,
            future=Future(),
            detokenizer=Detokenizer(request.sampling.stop),
            random=random.Random(request.sampling.seed),  # noqa: S311 - sampling, not secrets
            submitted_at=time.monotonic(),
            seen=request.sampling.seen(),
            rewind=Rewind() if request.keep else None,
            state=request.state,
        )

    def resume(self, tokens: int, state: Any, where: str | None = "engine") -> None:
        """Begin with the state after the first tokens of the prompt, which need not be fed, and was found there."""
        self.known, self.cached_tokens, self.state = self.known[tokens - self.cached_tokens :], tokens, state
        self.cached_in = where
        self.marks = [mark for mark in self.marks if mark.tokens > tokens]

    def feed(self, count: int) -> tuple[int, ...]:
        """The next `count` of the known tokens, or the latest token when these are through."""
        if not self.in_prefill:
            return (self.tokens[-1],)
        start, self.fed = self.fed, self.fed + count
        return tuple(self.known[start : self.fed])

    @property
    def read(self) -> int:
        """How many tokens of the prompt have been read, or were known."""
        return self.prompt_tokens if self.tokens else self.cached_tokens + self.fed

    @property
    def unfed(self) -> int:
        """How many of the known tokens are still to be fed."""
        return len(self.known) - self.fed

    @property
    def unfed_to_mark(self) -> int:
        """How many of them may be fed at once: a step ends at a mark."""
        return self.marks[0].tokens - self.cached_tokens - self.fed if self.marks else self.unfed

    @property
    def is_at_mark(self) -> bool:
        return bool(self.marks) and self.unfed_to_mark == 0

    @property
    def in_prefill(self) -> bool:
        return self.fed < len(self.known)

    def is_over(self, now: float) -> bool:
        """Whether it was cancelled, or is past its deadline."""
        return self.request.cancelled.is_set() or now >= self.request.deadline

    def accept(self, token: int, logprob: float, tokenizer: Tokenizer) -> None:
        """Take the chosen token, emit the text that is certain now, and see whether that was the last."""
        if not self.tokens:
            self.first_token_at = time.monotonic()
        self.tokens.append(token)
        self.logprob += logprob
        if self.seen is not None:
            self.seen.add(token)
        said = tokenizer.decode([token])
        if self.rewind is not None:
            self.rewind.add(token, said)
        self._emit(self.detokenizer.push(said))
        if token == END_OF_TEXT or self.detokenizer.stopped:
            self.ending = "stop"
        elif len(self.tokens) >= self.request.sampling.max_tokens:
            self.ending = "length"
        if self.ending and not self.detokenizer.stopped:
            self._emit(self.detokenizer.flush())

    def finish(self, state: Any = None) -> None:
        """Resolve the future. What had no reason to end was cancelled."""
        now = time.monotonic()
        self.future.set_result(
            Generation(
                text="".join(self.text),
                tokens=tuple(self.tokens),
                finish_reason=self.ending or "cancelled",
                prompt_tokens=self.read,
                cached_tokens=self.cached_tokens,
                mean_logprob=self.logprob / max(1, len(self.tokens)),
                queue_s=(self.admitted_at or now) - self.submitted_at,
                ttft_s=(self.first_token_at or now) - self.submitted_at,
                total_s=now - self.submitted_at,
                state=state,
                cached_in=self.cached_in,
            )
        )

    def _emit(self, text: str) -> None:
        if text:
            self.text.append(text)
            if self.request.on_text is not None:
                self.request.on_text(text)
