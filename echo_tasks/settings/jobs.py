"""How many jobs and sessions there may be, and how long they are kept."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Jobs(BaseModel):
    """Bounds and retention of the ledger."""

    job_retention_s: int = Field(
        86400, ge=60, description="seconds that a finished job, its events and its idempotency key are kept"
    )
    max_queued_jobs: int = Field(
        10000, ge=1, description="jobs that may be accepted and not have ended; one more is refused with 503"
    )
    max_queued_per_membrane: int = Field(
        5000, ge=1, description="of those, jobs that may wait for one membrane; one more is refused with 429"
    )
    session_timeout_minutes: int = Field(
        30, ge=1, description="minutes that a session, its turns and its memories are kept after its last activity"
    )
    max_concurrent_sessions: int = Field(
        100, ge=1, description="sessions that clients name and that may live at a time; one more is refused with 429"
    )
    history_turns: int = Field(128, ge=1, description="turns of a session that are kept; more drop its older half")
    history_tokens: int = Field(
        8192, ge=1, description="tokens of a session's turns that are kept; more drop its older half"
    )
