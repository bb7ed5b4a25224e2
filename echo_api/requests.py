"""What a request asks for outside its JSON body: preferences, idempotency, where to resume."""

from __future__ import annotations

import re
from typing import Any

from flask import request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from echo_api.problems import RequestProblem
from echo_tasks.events import START
from echo_tasks.messages import JobRequest

MAX_WAIT_S = 60

HEADERS_OF_SUBMIT: list[dict[str, Any]] = [
    {
        "name": "Prefer",
        "in": "header",
        "description": f"`wait=S`: wait up to S seconds (0 to {MAX_WAIT_S}) for the finished job (RFC 7240)",
        "schema": {"type": "string"},
    },
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "1 to 255 printable characters; a replay returns the first job",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    {
        "name": "Cache-Control",
        "in": "header",
        "description": "`no-store`: the answer is neither read from the cache nor kept there, as with `cache: false`",
        "schema": {"type": "string"},
    },
]

HEADERS_OF_EVENTS: list[dict[str, Any]] = [
    {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "the last event that the client has seen: what came after it is sent",
        "schema": {"type": "string"},
    },
]


def require_json_object() -> None:
    """Refuse a body that is not JSON (400, 415) or is JSON but no object (422)."""
    if request.method not in {"POST", "PUT", "PATCH"}:
        return
    if request.content_length is None and len(request.get_data()) >= (request.max_content_length or 0):
        # A chunked body is read up to the limit, and what comes behind it is not noticed.
        raise RequestProblem(413, "the body is too large")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RequestProblem(415, "the body must not be encoded or compressed")
    if b"\0" in request.get_data():  # UTF-16 or UTF-32, which Python would read as well
        raise RequestProblem(400, "the body is not JSON in UTF-8")
    try:
        body = request.get_json()
    except UnsupportedMediaType:
        raise RequestProblem(415, "the body must be application/json") from None
    except (BadRequest, RecursionError):  # the latter by a million opening brackets
        raise RequestProblem(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise RequestProblem(422, "the body must be a JSON object", field="body")


def for_this_once(asked: JobRequest) -> JobRequest:
    """The request, whose answer is neither read from the cache nor kept where `Cache-Control: no-store` says so."""
    return asked.model_copy(update={"cache": False}) if request.cache_control.no_store else asked


def wait_s() -> float | None:
    """Seconds to wait by `Prefer: wait=S`; None without one. A preference that does not parse is ignored."""
    for preference in request.headers.get("Prefer", "").split(","):
        if match := re.fullmatch(r'\s*wait\s*=\s*"?(\d{1,4})"?\s*(?:;.*)?', preference):
            return min(float(match[1]), MAX_WAIT_S)
    return None


def idempotency_key() -> str | None:
    """The client's `Idempotency-Key`, or None."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not re.fullmatch(r"[\x20-\x7e]{1,255}", key):
        raise RequestProblem(422, "must be 1 to 255 printable ASCII characters", field="Idempotency-Key")
    return key


def last_event_id() -> str:
    """The id of the last event that the client has seen."""
    last = request.headers.get("Last-Event-ID", START)
    if last != START and not is_event_id(last):
        raise RequestProblem(422, "must be the id of an event of this stream", field="Last-Event-ID")
    return last


_BEYOND_IDS = 2**64 - 1
"""Of the broker's numbers the greatest; an event's are its time in milliseconds, and a small one."""


def is_event_id(text: str) -> bool:
    """Whether it may be the id of an event, and others' before or after it: not the first of all, nor the last."""
    if not re.fullmatch(r"\d{1,20}-\d{1,20}", text, re.ASCII):
        return False
    parts = [int(part) for part in text.split("-")]
    return sum(parts) > 0 and max(parts) < _BEYOND_IDS
