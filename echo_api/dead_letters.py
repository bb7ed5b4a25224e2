"""The dead-letter list over HTTP: what was given up, asking for it again, and putting it away."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field

from echo_api import needs, problems, views
from echo_api.farm import farm
from echo_tasks.messages import DeadLetter, JobRequest, JobStatus

api = APIBlueprint(
    "dead_letters",
    __name__,
    url_prefix="/api/dead-letters",
    abp_tags=[Tag(name="dead letters")],
    abp_security=needs.ADMIN,
    abp_responses=problems.INVALID,
)

_NOT_FOUND: ResponseDict = {
    "404": problems.documented("no dead letter of that job"),
    "503": problems.documented("the broker does not answer"),
}


class LetterPath(BaseModel):
    """The job whose letter a path names."""

    job_id: str


class Page(BaseModel):
    """Which part of the list is wanted."""

    offset: int = Field(0, ge=0, le=2**31)
    limit: int = Field(100, ge=1, le=1000)


class LetterView(BaseModel):
    """A job that was given up, as a client reads it; `at` is ISO 8601, UTC."""

    job_id: str
    session_id: str
    request: JobRequest
    reason: str
    step: str
    deliveries: int
    node: str
    at: datetime
    links: dict[str, str]


class LettersView(BaseModel):
    """A page of the list, the latest first, of as many as there are."""

    total: int
    letters: list[LetterView]


class Replayed(views.Accepted):
    """The new job, and which one it is asked again for."""

    replay_of: str


@api.get("", responses={"200": LettersView, "503": problems.documented("the broker does not answer")})
def index(query: Page) -> Any:
    """List dead letters."""
    letters = farm().letters.page(offset=query.offset, limit=query.limit)
    view = LettersView(total=farm().letters.count(), letters=[_view(letter) for letter in letters])
    return view.model_dump(mode="json")


@api.get("/<job_id:job_id>", responses={"200": LetterView, **_NOT_FOUND})
def read(path: LetterPath) -> Any:
    """Read a dead letter."""
    return _view(farm().letters.read(path.job_id)).model_dump(mode="json")


@api.post("/<job_id:job_id>/replay", responses={"202": Replayed, **_NOT_FOUND})
def replay(path: LetterPath) -> Any:
    """Ask for a job again.

    The same request becomes a new job of the same session; then the letter goes.
    """
    spec = farm().letters.replay(path.job_id)
    place = {"job_id": spec.job_id, "session_id": spec.session_id, "status": JobStatus.QUEUED}
    links = {"links": views.links(spec.job_id), "replay_of": path.job_id}
    return place | links, 202, {"Location": url_for("jobs.read", job_id=spec.job_id)}


@api.delete("/<job_id:job_id>", responses={"204": {"description": "it is gone"}, **_NOT_FOUND})
def discard(path: LetterPath) -> Response:
    """Take a dead letter off the list."""
    farm().letters.discard(path.job_id)
    return Response(status=204)


def _view(letter: DeadLetter) -> LetterView:
    here = url_for("dead_letters.read", job_id=letter.spec.job_id)
    return LetterView(
        job_id=letter.spec.job_id,
        session_id=letter.spec.session_id,
        request=JobRequest(**letter.spec.model_dump(include=set(JobRequest.model_fields))),
        reason=letter.reason,
        step=letter.step,
        deliveries=letter.deliveries,
        node=letter.node,
        at=views.utc(letter.at),
        links={
            "self": here,
            "replay": url_for("dead_letters.replay", job_id=letter.spec.job_id),
            "job": url_for("jobs.read", job_id=letter.spec.job_id),
        },
    )
