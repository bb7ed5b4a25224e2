"""What probes are told."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from echo_tasks.messages import WorkerRecord


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class Check(BaseModel):
    """What one of the things that the API needs is like."""

    ok: bool
    detail: str = ""
    ms: float = Field(0, description="how long it took to find out")


class Readiness(BaseModel):
    """Whether requests are better sent here than elsewhere."""

    status: Literal["ready", "not ready"]
    checks: dict[str, Check]


class Health(BaseModel):
    """The farm's health; what is known of it, where the broker answers."""

    status: Literal["healthy", "unhealthy"]
    timestamp: datetime | None = None
    version: str | None = None
    checks: dict[str, Check] | None = None
    open_jobs: int | None = None
    workers: list[WorkerRecord] | None = None
