"""Errors as `application/problem+json` (RFC 9457): every fault of a request or of the farm, in one form."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, json, make_response, request
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, Field, ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from cache.tier import TierFault
from echo_api import refusals
from echo_api.callers import caller
from echo_tasks import logs
from echo_tasks.errors import (
    BrokerUnavailable,
    ControllerAway,
    FarmFull,
    IdempotencyConflict,
    JobNotFound,
    LetterNotFound,
    MembraneFull,
    QuotaSpent,
    RecordDamaged,
    RecordTooNew,
    ScalingRefused,
    SessionBusy,
    SessionExists,
    SessionLimitReached,
    SessionNotFound,
    TurnNotKept,
)

RETRY_AFTER_S = 2

log = logs.get(__name__)


class FieldError(BaseModel):
    """One field at fault."""

    field: str
    message: str


class Problem(BaseModel):
    """The body of an error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    errors: list[FieldError] = Field(default_factory=list)


class RequestProblem(Exception):
    """A request that cannot be served; raised by views, answered as a problem."""

    def __init__(
        self, status: int, detail: str, *, field: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers
        self.errors = [FieldError(field=field, message=detail)] if field else []


def unauthenticated(detail: str, *, is_wrong: bool = False) -> RequestProblem:
    """401, and how to show a key; `is_wrong`: one was shown that is not good (RFC 6750)."""
    error = ', error="invalid_token"' if is_wrong else ""
    return RequestProblem(401, detail, headers={"WWW-Authenticate": f'Bearer realm="deep-tree-echo"{error}'})


def documented(description: str) -> dict[str, Any]:
    """A problem response for the OpenAPI document."""
    return {"description": description, "content": {"application/problem+json": {"schema": _schema()}}}


@cache
def _schema() -> dict[str, Any]:
    """The schema of every problem."""
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["properties"]["errors"]["items"] = FieldError.model_json_schema()
    schema.pop("$defs", None)
    return schema


FULL: ResponseDict = {"429": documented("as many sessions are live as may be; `Retry-After` says when one may go")}
"""For the routes that open a session."""

CROWDED: ResponseDict = {
    "429": documented(
        "as many sessions are live, jobs wait for one of the membranes, or the key's jobs are there, as may; or there "
        "were too many requests; `Retry-After` says when to return"
    ),
    "403": documented("the key has not the scope `submit`, or its jobs may not have that priority; `errors` names it"),
    "503": documented("the broker does not answer or has no room, or as many jobs are open as may be; `Retry-After`"),
}
"""For the routes that make a job."""

INVALID: ResponseDict = {"422": documented("a field is wrong, missing or unknown; `errors` names each")}
"""For the routes that take a body or headers."""


def response(
    status: int, detail: str, *, errors: list[FieldError] | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A problem as a response."""
    problem = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.path,
        errors=errors or [],
    )
    answer = make_response(json.dumps(problem.model_dump(exclude_defaults=True) | {"type": problem.type}))
    answer.status_code = status
    answer.content_type = "application/problem+json"
    answer.headers.extend(headers or {})
    return answer


def invalid(error: ValidationError) -> Response:
    """422 that names each field at fault."""
    errors = [
        FieldError(field=".".join(str(part) for part in problem["loc"]) or "body", message=problem["msg"])
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return response(422, "; ".join(f"{e.field}: {e.message}" for e in errors), errors=errors)


def unavailable(detail: str, headers: dict[str, str] | None = None) -> Response:
    """503 that says when to try again."""
    return response(503, detail, headers=_retry_after(RETRY_AFTER_S) | (headers or {}))


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def install(app: Flask) -> None:
    """Answer every error of the application as a problem."""
    app.register_error_handler(RequestProblem, _refused)
    for kind in refusals.KINDS:  # of a body, while a view reads it
        app.register_error_handler(kind, lambda e: response(*refusals.of(e)))
    app.register_error_handler(JobNotFound, lambda e: response(404, str(e)))
    app.register_error_handler(RecordDamaged, _damaged)
    app.register_error_handler(LetterNotFound, lambda e: response(404, str(e)))
    app.register_error_handler(IdempotencyConflict, lambda e: response(422, str(e)))
    app.register_error_handler(SessionNotFound, lambda e: response(404, f"no session {_named(e)}"))
    app.register_error_handler(SessionExists, lambda e: response(409, f"session {_named(e)} exists"))
    app.register_error_handler(SessionBusy, _session_busy)
    app.register_error_handler(QuotaSpent, lambda e: response(429, str(e), headers=_retry_after(e.retry_after_s)))
    app.register_error_handler(
        SessionLimitReached, lambda e: response(429, str(e), headers=_retry_after(e.retry_after_s))
    )
    app.register_error_handler(FarmFull, lambda e: response(503, str(e), headers=_retry_after(e.retry_after_s)))
    app.register_error_handler(MembraneFull, _membrane_full)
    app.register_error_handler(
        TurnNotKept, lambda e: response(422, str(e), errors=[FieldError(field="turn", message=str(e))])
    )
    app.register_error_handler(ControllerAway, lambda e: unavailable(str(e)))
    app.register_error_handler(RecordTooNew, lambda e: unavailable(f"{e}; a newer one can serve it"))
    app.register_error_handler(ScalingRefused, lambda e: response(400 if e.is_bound else 409, str(e)))
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(BrokerUnavailable, _broker_unavailable)
    app.register_error_handler(TierFault, _tier_fault)
    app.register_error_handler(Exception, _unexpected)


def _refused(error: RequestProblem) -> Response:
    return response(error.status, error.detail, errors=error.errors, headers=error.headers)


def _http(error: HTTPException) -> Any:
    if error.response is not None:  # already a whole answer, such as the 422 of a validation
        return error.response
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response(error.code or 500, error.description or "", headers=headers)


def _named(error: SessionNotFound | SessionExists | SessionBusy) -> str:
    """The session as its caller calls it."""
    return caller().outer(error.session_id)


def _session_busy(error: SessionBusy) -> Response:
    return response(409, f"a job of session {_named(error)} is open", headers=_retry_after(RETRY_AFTER_S))


def _membrane_full(error: MembraneFull) -> Response:
    errors = [FieldError(field="membranes", message=str(error))]
    return response(429, str(error), errors=errors, headers=_retry_after(error.retry_after_s))


_BROKER_FAULTS = {
    "memory": "the broker has no memory left for it",
    "disk": "the broker cannot write to its disk",
    "read-only": "the broker takes no writes now",
    "loading": "the broker is starting",
}


def _broker_unavailable(error: BrokerUnavailable) -> Response:
    log.warning("broker unavailable", path=request.path, reason=error.reason, error=str(error))
    return unavailable(f"{_BROKER_FAULTS.get(error.reason, 'the broker does not answer')}; try again")


def _tier_fault(error: TierFault) -> Response:
    log.warning("cache unavailable", path=request.path, error=str(error))
    return unavailable("the cache cannot do that now; try again")


def _damaged(error: RecordDamaged) -> Response:
    log.error("record damaged", path=request.path, error=str(error))
    return response(500, "the job's record is damaged; the job will end")


def _unexpected(error: Exception) -> Response:
    """A fault of ours: logged with its traceback, told without it."""
    log.error("request failed", path=request.path, exc_info=error)
    return response(500, "the request failed by a fault of the server's")
