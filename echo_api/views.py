"""Jobs as clients read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import url_for
from pydantic import BaseModel, Field

from echo_api.callers import caller
from echo_tasks.messages import Job, JobError, JobResult, JobStatus


class Links(BaseModel):
    """Where to go on from a job."""

    self: str
    events: str
    cancel: str


class Accepted(BaseModel):
    """The answer to an accepted job."""

    job_id: str
    session_id: str
    status: JobStatus
    links: Links


class JobView(BaseModel):
    """A job as a client reads it; times are ISO 8601, UTC."""

    job_id: str
    session_id: str
    status: JobStatus
    priority: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int
    result: JobResult | None
    error: JobError | None
    replay_of: str | None = Field(None, description="the job on the dead-letter list that it was asked again for")


def links(job_id: str) -> dict[str, str]:
    """The links of a job."""
    here = url_for("jobs.read", job_id=job_id)
    return {"self": here, "events": url_for("jobs.events", job_id=job_id), "cancel": here}


def job(job: Job) -> dict[str, Any]:
    """The JSON of a job, with its caller's name of its session."""
    known = {name: at for name in ("created_at", "started_at", "finished_at") if (at := getattr(job, name)) is not None}
    times = {name: utc(at) for name, at in known.items()}
    told = {"session_id": caller().outer(job.session_id), "result": job.result and caller().told(job.result)}
    return JobView.model_validate(dict(job) | times | told).model_dump(mode="json")


def cache_status(result: JobResult | None) -> dict[str, str]:
    """How the cache has dealt with an answer, as a header (RFC 9211)."""
    if result is None:
        return {}
    if result.cache_tier == "collapsed":
        told = "fwd=miss; collapsed"
    elif result.cache_hit:
        told = f"hit; detail={result.cache_tier}"
    else:
        told = "fwd=miss" if result.cognitive_metadata.get("cache_enabled") else "fwd=bypass"
    return {"Cache-Status": f"deep-tree-echo; {told}"}


def utc(at: float) -> datetime:
    """A moment of the broker's clock as clients read it."""
    return datetime.fromtimestamp(at, UTC)
