"""What steps and jobs leave behind: outputs, results, errors, turns, memories."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from echo_tasks.messages.forms import Stored


class Usage(Stored):
    """Tokens spent; `cached_tokens` are the part of the prompt that needed no prefill."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Read and generated, cached ones included."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


class Turn(Stored):
    """One exchange of a session: what the user wrote, and what was answered."""

    user: str
    assistant: str
    tokens: int = 0


MemoryType = Literal["declarative", "procedural", "episodic", "intentional"]
"""Facts; how things are done; what happened; what is to be done."""


class MemoryDraft(Stored):
    """Something worth remembering that a user said; `importance` is from 0 to 1."""

    content: str
    memory_type: MemoryType
    importance: float


class StepOutput(Stored):
    """What one step of a job left behind: its text and fields, or the error that it ended with."""

    text: str = ""
    fields: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None
    rejected: bool = Field(False, description="the error is the request's: asking again will not help")
    cancelled: bool = Field(False, description="the error is that its task was told to end")
    usage: Usage = Usage()
    node: str = ""
    elapsed_ms: float = 0.0

    @property
    def outcome(self) -> Literal["succeeded", "failed", "cancelled"]:
        """How the step ended, in a word."""
        return "succeeded" if self.error is None else "cancelled" if self.cancelled else "failed"


class JobResult(Stored):
    """The answer of a job; `membrane_outputs` and `cognitive_metadata` are by membrane.

    The last three fields go into its session: how long the exchange is, what it told, and which memories it used.
    """

    session_id: str
    response_text: str
    processing_time_ms: float
    membrane_outputs: dict[str, str]
    cognitive_metadata: dict[str, Any]
    cache_hit: bool = Field(False, description="whether it was generated for another job")
    cache_tier: str | None = Field(None, description="where it was found: l1, l2, l3; collapsed: in an equal job's end")
    usage: Usage = Usage()
    turn_tokens: int = 0
    memories_made: list[MemoryDraft] = Field(default_factory=list)
    memories_used: list[str] = Field(default_factory=list, description="ids")

    def for_another(self, session_id: str, *, tier: str, elapsed_ms: float) -> JobResult:
        """The same answer for a job of another session, for which nothing was generated."""
        known = {"session_id": session_id, "processing_time_ms": round(elapsed_ms, 1), "usage": Usage()}
        return self.model_copy(update=known | {"cache_hit": True, "cache_tier": tier})


class JobError(Stored):
    """Why a job failed."""

    reason: str
    rejected: bool = Field(False, description="the request cannot be answered: asking again will not help")
    timed_out: bool = Field(False, description="the time that its client gave it is over")
    membranes: dict[str, str] = Field(default_factory=dict, description="each failed membrane's own reason")
