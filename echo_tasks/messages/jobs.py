"""Jobs as the ledger keeps them, and as clients see them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import Field

from echo_tasks import versions
from echo_tasks.messages.answers import JobError, JobResult
from echo_tasks.messages.forms import Message, SessionId, Stored
from echo_tasks.messages.requests import JobRequest
from echo_tasks.versions import Since


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
    trace: Annotated[dict[str, str], Since(versions.FIRST)] = Field(
        default_factory=dict, description="where its request is in which trace"
    )
    replay_of: str | None = Field(None, description="the job on the dead-letter list that it is asked again for")


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
    owner: str = Field("", description="whose it is; empty: nobody's, since it was asked for without a key")


class DeadLetter(Stored):
    """A job that was given up: its spec, the step it failed at, how often that was delivered, and where at last."""

    spec: JobSpec
    reason: str
    step: str
    deliveries: int
    node: str
    at: float
    owner: str = Field("", description="whose job it was; the script that keeps the letter adds it")
    version: int = Field(versions.FIRST, description="of the record that its spec was in")
