"""What processes say to one another: jobs, steps' outputs, results, workers' words about themselves."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
)

from echo_tasks.keys import MEMBRANES, Membrane

STOP_STRING_MAX_BYTES = 256


def _encodable(text: str) -> str:
    """JSON can spell half of a surrogate pair, which is no character and has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} is an unpaired surrogate") from None
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("text is blank")
    return text


def _short_in_bytes(text: str) -> str:
    if len(text.encode()) > STOP_STRING_MAX_BYTES:
        raise ValueError(f"longer than {STOP_STRING_MAX_BYTES} bytes of UTF-8")
    return text


def distinct(items: list[Any]) -> list[Any]:
    """The items, if no two are equal; raises ValueError."""
    if len(set(items)) != len(items):
        raise ValueError("items must differ")
    return items


InitialState = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
StopString = Annotated[str, Field(min_length=1), AfterValidator(_encodable), AfterValidator(_short_in_bytes)]
TimeoutS = Annotated[
    int | None, Field(ge=1, le=86400, description="seconds, in line and running, after which the job fails")
]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
InputText = Annotated[
    str, Field(min_length=1, max_length=32768), AfterValidator(_encodable), AfterValidator(_not_blank)
]


Stamp = tuple[tuple[str, str], ...]
"""Tags, each with the version that it had at some time."""


class Message(BaseModel):
    """Base of what clients ask for: strict types, unknown fields refused, by old workers too.

    Errors do not repeat what was said: they end up in logs.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class Stored(BaseModel):
    """Base of what processes leave for one another: a newer writer's extra fields are no reader's concern."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)


class Options(Message):
    """How each generation of a job begins and samples. `temperature` 0 is greedy; `top_k` 0 is no limit."""

    max_tokens: int = Field(64, ge=1, le=4096)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(0.9, ge=0, le=1)
    top_k: int = Field(0, ge=0, le=65536)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    penalty_decay: float = Field(0.996, ge=0, le=1)
    seed: int | None = Field(None, ge=0, le=2**63 - 1)
    stop: list[StopString] = Field(default_factory=list, max_length=4)
    initial_state: InitialState | None = Field(None, description="a tuned state that prompts begin in, by name")


class JobRequest(Message):
    """A cognitive job as a client asks for it."""

    input_text: InputText
    session_id: SessionId | None = None
    membranes: Annotated[list[Membrane], Field(min_length=1), AfterValidator(distinct)] = Field(
        default_factory=lambda: list(MEMBRANES)
    )
    priority: int = Field(1, ge=1, le=10, description="10 is served first")
    options: Options = Options()
    cache: bool = True
    timeout_s: TimeoutS = None
    tags: Annotated[list[Tag], Field(max_length=16), AfterValidator(distinct)] = Field(default_factory=list)


class Past(Message):
    """What of its session a job knows: so many turns, of which the first are `gone`, and digests.

    `digest` is of all turns, `memories` of what is remembered of them; equal pasts are of equal contents, whatever the
    sessions' ids.
    """

    turns: int = 0
    gone: int = 0
    digest: str = ""
    memories: str = ""


class JobSpec(JobRequest):
    """A job as the ledger keeps it: the request, with both ids decided.

    `past` is what of its session it knows; that is decided when all turns before it have ended.
    """

    job_id: str
    session_id: SessionId
    past: Past = Past()
    trace: dict[str, str] = Field(default_factory=dict, description="where its request is in which trace")
    replay_of: str | None = Field(None, description="the job on the dead-letter list that it is asked again for")

    @model_serializer(mode="wrap")
    def _without_nothing(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A job that is in no trace says nothing of it, so that older processes can read it."""
        return {name: value for name, value in whole(self).items() if name != "trace" or value}


class ProcessingOptions(Options):
    """`processing_options` of the synchronous route: the sampling options, which membranes, cache, and how long."""

    membranes: Annotated[list[Membrane], Field(min_length=1), AfterValidator(distinct)] = Field(
        default_factory=lambda: list(MEMBRANES)
    )
    cache: bool = True
    timeout_s: TimeoutS = None


class ProcessRequest(Message):
    """The body of POST /api/cognitive/process."""

    input_text: InputText
    session_id: SessionId | None = None
    processing_options: ProcessingOptions = ProcessingOptions()
    priority: int = Field(1, ge=1, le=10, description="10 is served first")

    def as_job(self) -> JobRequest:
        """The same request in the asynchronous route's words."""
        sampling = {name: getattr(self.processing_options, name) for name in Options.model_fields}
        return JobRequest(
            input_text=self.input_text,
            session_id=self.session_id,
            membranes=self.processing_options.membranes,
            priority=self.priority,
            options=Options(**sampling),
            cache=self.processing_options.cache,
            timeout_s=self.processing_options.timeout_s,
        )


class Lease(NamedTuple):
    """The right to do a step of a job, until another claim of it has a higher token."""

    job_id: str
    step: str
    token: int


class JobStatus(StrEnum):
    """Where a job is; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        return self in {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED}


class Usage(Stored):
    """Tokens spent; `cached_tokens` are the part of the prompt that needed no prefill."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

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


class Job(Stored):
    """A job as clients see it. Times are seconds since the epoch, by the broker's clock."""

    job_id: str
    session_id: str
    status: JobStatus
    priority: int
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    result: JobResult | None = None
    error: JobError | None = None
    replay_of: str | None = None


class DeadLetter(Stored):
    """A job that was given up: its spec, the step it failed at, how often that was delivered, and where at last."""

    spec: JobSpec
    reason: str
    step: str
    deliveries: int
    node: str
    at: float


class ScalingState(Stored):
    """What the leading controller sees and wants, at a moment of the broker's clock.

    `desired`: workers that there are to be; of these there are `serving`, and `starting` that have not said a word
    yet; `draining` are those that go. Shares are of the slots that serve.
    """

    controller: str
    at: float
    actuator: str
    is_enabled: bool
    least: int
    most: int
    desired: int
    serving: int
    starting: int
    draining: int
    reason: str
    utilisation: float
    fault: str = Field("", description="what the actuator failed with, as long as it does")


class ScalingEvent(Stored):
    """What a controller decided, with what it was made of; or a fault of its actuator's. `at` is by the broker's clock.

    `current`: workers that serve or start. `busy`, `delivered` and `ready` are steps that are run, taken and not begun,
    and waiting. `floor`: workers that the forecast asks for; 0 for none.
    """

    at: float
    controller: str
    reason: str
    current: int
    desired: int
    utilisation: float
    victims: list[str] = Field(default_factory=list, description="nodes to be drained")
    serving: int
    starting: int
    draining: int
    slots: int
    busy: int
    delivered: int
    ready: int
    oldest_s: float
    arrived: int
    floor: int = 0
    error: str = ""


def _clamped(low: float, high: float) -> AfterValidator:
    """What is said beyond the bounds counts as said at them; what is no number, as the lower one."""

    def clamp(value: Any) -> Any:
        return type(value)(low if math.isnan(value) else min(max(value, low), high))

    return AfterValidator(clamp)


MOST_SLOTS = 1024

StepCount = Annotated[int, _clamped(0, MOST_SLOTS)]
Count = Annotated[int, _clamped(0, 2**53)]
Amount = Annotated[float, _clamped(0, 1e9)]


class WorkerRecord(Stored):
    """A live worker's word about itself; it is gone when the record's time to live has passed.

    `started_at` and `seen_at` are stamped by the broker's clock, the latter with each heartbeat. A record with more
    slots than a worker can have is none; of the other figures only what is sane counts.
    """

    node: str = Field(min_length=1)
    pid: int
    host: str = ""
    queues: list[str]
    slots: int = Field(ge=0, le=MOST_SLOTS)
    busy: StepCount = Field(0, description="steps that it runs")
    waiting: StepCount = Field(0, description="steps delivered to it that it has not begun")
    tokens_per_s: Amount = Field(0.0, description="generated, over the last seconds")
    mean_service_s: Amount = Field(0.0, description="of a step, of late; 0: it has answered none")
    answered: Count = Field(0, description="steps that it has answered")
    failed: Count = Field(0, description="of those, the ones whose answer is an error")
    cpu: Amount = Field(0.0, description="share of one core; 1.0 is one core busy")
    memory_bytes: Count = Field(0, description="resident")
    model_id: str = Field(description="tells the model's weights and vocabulary apart from any other's")
    answers_id: str = Field(description="tells apart all that decides an answer: model, number format, templates")
    model_name: str
    version: str
    metrics_address: str = Field("", description="host and port of its metrics; empty: it has none")
    draining: bool = Field(False, description="it takes no new work, and ends when it has finished what it holds")
    started_at: float
    seen_at: float = 0.0
    initial_states: list[str] = Field(default_factory=list, description="names of the tuned states it offers")
    stalled_s: float = Field(
        0, description="since it last took a message, while its queues had some and it had room; its watchdog's figure"
    )

    @field_validator("queues")
    @classmethod
    def _sorted(cls, queues: list[str]) -> list[str]:
        return sorted(queues)
