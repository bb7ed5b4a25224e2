"""What workers say of themselves."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from echo_tasks import versions
from echo_tasks.messages.forms import Stored
from echo_tasks.settings.kinds import MOST_SLOTS


def _clamped(low: float, high: float) -> AfterValidator:
    """What is said beyond the bounds counts as said at them; what is no number, as the lower one."""

    def clamp(value: Any) -> Any:
        return type(value)(low if math.isnan(value) else min(max(value, low), high))

    return AfterValidator(clamp)


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
    memory_most_bytes: Count = Field(0, description="what may be resident under a full load; 0: it does not tell")
    tokens: Count = Field(0, description="generated so far")
    threads: StepCount = Field(1, description="of its engine, while it has its cores for itself")
    machine: str = Field("", description="tells apart the machines of workers; containers of one machine share it")
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
    reads: int = Field(versions.FIRST, description="the highest version of jobs' records that it reads")
    choices: list[str] = Field(default_factory=list, description="settings that it has chosen itself, and why")
    refused: Count = Field(0, description="steps that it left to newer workers, since it cannot read their jobs")

    @field_validator("queues")
    @classmethod
    def _sorted(cls, queues: list[str]) -> list[str]:
        return sorted(queues)
