"""Sessions over HTTP: open, read, list their turns, fork, delete."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import datetime
from typing import Any, get_args

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field

from echo_api import belongings, needs, problems, requests
from echo_api.callers import caller
from echo_api.farm import farm
from echo_api.views import utc
from echo_tasks.messages import MemoryType, Message, SessionId
from echo_tasks.sessions import KeptTurn

api = APIBlueprint(
    "sessions", __name__, url_prefix="/api/sessions", abp_tags=[Tag(name="sessions")], abp_responses=problems.INVALID
)
api.before_request(requests.require_json_object)

NOT_FOUND: ResponseDict = {
    "404": problems.documented("no such session"),
    "503": problems.documented("the broker does not answer"),
}

_NEW: ResponseDict = {
    "400": problems.documented("the body is not JSON"),
    "409": problems.documented("a session of that name exists"),
    "415": problems.documented("the body is not application/json"),
    **problems.FULL,
    "503": problems.documented("the broker does not answer"),
}


class SessionPath(BaseModel):
    """The session that a path names."""

    session_id: str


class OpenRequest(Message):
    """A session as a client asks for it."""

    session_id: SessionId | None = Field(None, description="one is made where none is given")


class ForkRequest(OpenRequest):
    """A session that goes on from another one's turn."""

    turn: int = Field(ge=0, le=2**53, description="how many of the turns, from the first one on, it shares")


class SessionView(BaseModel):
    """A session as a client reads it; times are ISO 8601, UTC. `turns` counts all that there have been."""

    session_id: str
    status: str
    created_at: datetime
    last_activity: datetime
    turns: int
    turns_kept: int
    tokens_kept: int
    open_jobs: int
    memory_items: dict[str, int]
    links: dict[str, str]


class TurnView(BaseModel):
    """A turn as a client reads it."""

    turn: int
    user: str
    assistant: str
    tokens: int
    job_id: str
    at: datetime


class HistoryView(BaseModel):
    """The turns of a session that are kept, oldest first, of as many as there have been."""

    session_id: str
    total_turns: int
    turns: list[TurnView]


@api.post("", security=needs.SUBMIT, responses={"201": SessionView, **_NEW})
def create(body: OpenRequest) -> Any:
    """Open a session.

    Not needed to talk in one: the first job that names a session opens it.
    """
    name = body.session_id or _new_id()
    farm().sessions.open(belongings.session(name), caller().account)
    return _view(name), 201, {"Location": url_for("sessions.read", session_id=name)}


@api.get("/<session_id:session_id>", security=needs.READ, responses={"200": SessionView, **NOT_FOUND})
def read(path: SessionPath) -> Any:
    """Read a session."""
    return _view(path.session_id)


@api.delete(
    "/<session_id:session_id>",
    security=needs.SUBMIT,
    responses={"204": {"description": "it is gone"}, **NOT_FOUND},
)
def delete(path: SessionPath) -> Response:
    """Delete a session.

    Its history, its memories and its record go, and its open jobs are cancelled.
    """
    farm().delete_session(belongings.session(path.session_id))
    return Response(status=204)


@api.get("/<session_id:session_id>/history", security=needs.READ, responses={"200": HistoryView, **NOT_FOUND})
def history(path: SessionPath) -> Any:
    """List a session's turns."""
    session_id = belongings.session(path.session_id)
    turns = farm().sessions.history(session_id)
    total = turns[-1].number if turns else farm().sessions.read(session_id).turns
    view = HistoryView(session_id=path.session_id, total_turns=total, turns=[_turn(turn) for turn in turns])
    return view.model_dump(mode="json")


@api.post(
    "/<session_id:session_id>/fork",
    security=needs.SUBMIT,
    responses={"201": SessionView, **_NEW, "404": problems.documented("no such session")},
)
def fork(path: SessionPath, body: ForkRequest) -> Any:
    """Fork a session.

    The new one's history is the first `turn` turns of this one, and it remembers what those told. A turn that was
    trimmed away cannot be gone on from: 422.
    """
    name = body.session_id or _new_id()
    source, made = belongings.session(path.session_id), belongings.session(name)
    farm().sessions.fork(source, body.turn, made, caller().account)
    return _view(name), 201, {"Location": url_for("sessions.read", session_id=name)}


def _new_id() -> str:
    return f"s-{uuid.uuid4().hex}"


def _view(name: str) -> dict[str, Any]:
    session = farm().sessions.read(belongings.session(name))
    remembered = Counter(memory.memory_type for memory in farm().memories.of([session.session_id]))
    here = url_for("sessions.read", session_id=name)
    view = SessionView(
        session_id=name,
        status="active",
        created_at=utc(session.created_at),
        last_activity=utc(session.last_activity),
        turns=session.turns,
        turns_kept=session.turns_kept,
        tokens_kept=session.tokens_kept,
        open_jobs=session.open_jobs,
        memory_items={kind: remembered[kind] for kind in get_args(MemoryType)},
        links={"self": here, "history": f"{here}/history", "fork": f"{here}/fork"},
    )
    return view.model_dump(mode="json")


def _turn(turn: KeptTurn) -> TurnView:
    return TurnView(
        turn=turn.number,
        user=turn.user,
        assistant=turn.assistant,
        tokens=turn.tokens,
        job_id=turn.job_id,
        at=utc(turn.at),
    )
