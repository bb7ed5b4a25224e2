"""Memories over HTTP: search, consolidate, count."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, get_args

from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.types import ResponseDict
from pydantic import AfterValidator, BaseModel, Field

from echo_api import belongings, needs, problems, recollection, requests
from echo_api.callers import caller
from echo_api.farm import farm
from echo_api.recollection import Wanted
from echo_api.sessions import NOT_FOUND
from echo_api.views import utc
from echo_tasks.memories import Memory
from echo_tasks.messages import InputText, MemoryType, Message, SessionId, distinct

api = APIBlueprint(
    "memories", __name__, url_prefix="/api/memory", abp_tags=[Tag(name="memory")], abp_responses=problems.INVALID
)
api.before_request(requests.require_json_object)

_FAULTS: ResponseDict = {
    "400": problems.documented("the body is not JSON"),
    "415": problems.documented("the body is not application/json"),
    **NOT_FOUND,
}


class SearchRequest(Message):
    """What to look for; without a session, in those that were active last."""

    query: InputText
    session_id: SessionId | None = None
    memory_types: Annotated[list[MemoryType], Field(min_length=1), AfterValidator(distinct)] = Field(
        default_factory=lambda: list(get_args(MemoryType))
    )
    max_results: int = Field(10, ge=1, le=100)


class MemoryView(BaseModel):
    """A memory that was found; `access_count` is how often an answer has used it."""

    id: str
    content: str
    memory_type: MemoryType
    importance: float
    timestamp: datetime
    session_id: str
    turn: int
    tags: list[str]
    relevance_score: float
    access_count: int


class Found(BaseModel):
    """The most relevant memories, of as many as match."""

    query: str
    results: list[MemoryView]
    total_found: int


class ConsolidateRequest(Message):
    """Whose memories to tidy; without a session, those of the sessions that were active last."""

    session_id: SessionId | None = None


class Consolidated(BaseModel):
    """How many memories went into others; `status` is `partial` when sessions with open jobs were left alone."""

    consolidated_count: int
    busy_sessions: int
    status: str


class Statistics(BaseModel):
    """What was done with memories since the broker has been there, and what the sessions active last hold."""

    processing_stats: dict[str, int] = Field(description="of the whole farm; empty for a key without scope `admin`")
    database_stats: dict[str, float | None]
    uptime_seconds: float
    memory_types: dict[str, int]


@api.post("/search", security=needs.READ, responses={"200": Found, **_FAULTS})
def search(body: SearchRequest) -> Any:
    """Search memories.

    By BM25 over the stems of their words, weighed with importance and recency; what shares no word is not found.
    """
    found = recollection.search(farm(), _sessions(body), body.query, body.memory_types)
    results = [_view(memory, relevance) for memory, relevance in found[: body.max_results]]
    return Found(query=body.query, results=results, total_found=len(found)).model_dump(mode="json")


@api.post(
    "/consolidate",
    security=needs.SUBMIT,
    responses={
        "200": Consolidated,
        **_FAULTS,
        "409": problems.documented("a job of the session is open; `Retry-After` says when to try again"),
    },
)
def consolidate(body: ConsolidateRequest) -> Any:
    """Consolidate memories.

    Of those of a session and a type that tell the same, the most important one stays, with the tags and the accesses
    of all. Doing it again changes nothing.
    """
    tidied = recollection.tidy(farm(), _sessions(body))
    status = "partial" if tidied.busy_sessions else "completed"
    return {"consolidated_count": tidied.consolidated, "busy_sessions": tidied.busy_sessions, "status": status}


@api.get("/stats", security=needs.READ, responses={"200": Statistics, "503": NOT_FOUND["503"]})
def stats() -> Any:
    """Count memories."""
    return recollection.statistics(farm(), caller())


def _sessions(body: SearchRequest | ConsolidateRequest) -> Wanted:
    """The session that is named, or all of the caller's."""
    if body.session_id is None:
        return Wanted(beginning=caller().beginning)
    return Wanted(belongings.session(body.session_id))


def _view(memory: Memory, relevance: float) -> MemoryView:
    return MemoryView(
        **memory.model_dump(include={*MemoryView.model_fields} & {*Memory.model_fields} - {"session_id"}),
        session_id=caller().outer(memory.session_id),
        timestamp=utc(memory.made_at),
        relevance_score=round(relevance, 4),
    )
