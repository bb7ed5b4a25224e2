"""What sessions have done, under the original document's names: their status, their performance, who is active."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, Field

from echo_api import belongings, needs, problems
from echo_api.callers import caller
from echo_api.farm import farm
from echo_api.sessions import NOT_FOUND, SessionPath
from echo_api.views import utc
from echo_tasks.sessions import Session

api = APIBlueprint("activity", __name__, url_prefix="/api/cognitive", abp_tags=[Tag(name="cognitive")])


class Page(BaseModel):
    """Which of the active sessions to list."""

    model_config = ConfigDict(extra="forbid")

    offset: int = Field(0, ge=0, le=2**31)
    limit: int = Field(100, ge=1, le=1000)


class Active(BaseModel):
    """An active session; times are ISO 8601, UTC. Interactions are the turns that it has had."""

    session_id: str
    created_at: datetime
    last_activity: datetime
    total_interactions: int


class ActiveSessions(BaseModel):
    """A page of the active sessions, and how many there are."""

    active_sessions: list[Active]
    total_count: int


class Status(Active):
    """A session's status; the mean is null before its first job has ended."""

    status: str
    avg_processing_time_ms: float | None


class Performance(Active):
    """How a session's jobs went, of those that were answered or failed; means and rates are null before the first."""

    avg_response_time_ms: float | None
    total_processing_time_ms: float
    cache_hit_rate: float | None
    error_count: int
    error_rate: float | None


@api.get(
    "/sessions",
    security=needs.READ,
    responses={"200": ActiveSessions, **problems.INVALID, "503": NOT_FOUND["503"]},
)
def listed(query: Page) -> Any:
    """List the active sessions.

    Those with open jobs come first, then those that were active last. A session that no client has named is not listed.
    """
    beginning = caller().beginning
    found = farm().sessions.live(offset=query.offset, limit=query.limit, beginning=beginning)
    sessions = [Active.model_validate(_active(session)) for session in found]
    return ActiveSessions(active_sessions=sessions, total_count=farm().sessions.count(beginning)).model_dump(
        mode="json"
    )


@api.get("/session/<session_id:session_id>/status", security=needs.READ, responses={"200": Status, **NOT_FOUND})
def status(path: SessionPath) -> Any:
    """Read a session's status."""
    session = farm().sessions.read(belongings.session(path.session_id))
    means = {"avg_processing_time_ms": _mean_ms(session)}
    return Status.model_validate(_active(session) | {"status": "active"} | means).model_dump(mode="json")


@api.get(
    "/session/<session_id:session_id>/performance", security=needs.READ, responses={"200": Performance, **NOT_FOUND}
)
def performance(path: SessionPath) -> Any:
    """Read how a session's jobs went."""
    session = farm().sessions.read(belongings.session(path.session_id))
    numbers = {
        "avg_response_time_ms": _mean_ms(session),
        "total_processing_time_ms": round(1000 * session.processing_s, 1),
        "cache_hit_rate": _rate(session.cache_hits, session),
        "error_count": session.failed,
        "error_rate": _rate(session.failed, session),
    }
    return Performance.model_validate(_active(session) | numbers).model_dump(mode="json")


def _active(session: Session) -> dict[str, Any]:
    return {
        "session_id": caller().outer(session.session_id),
        "created_at": utc(session.created_at),
        "last_activity": utc(session.last_activity),
        "total_interactions": session.turns,
    }


def _mean_ms(session: Session) -> float | None:
    return round(1000 * session.processing_s / session.ended, 1) if session.ended else None


def _rate(count: int, session: Session) -> float | None:
    return round(count / session.ended, 4) if session.ended else None
