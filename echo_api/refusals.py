"""Requests that are refused before they reach the application: what is no HTTP, too much of it, or too slow."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors

from echo_api.browsers import ALWAYS, NOTHING
from echo_api.connection import TooSlow

_STATUSES: tuple[tuple[type[Exception], HTTPStatus, str], ...] = (
    (TooSlow, HTTPStatus.REQUEST_TIMEOUT, "the request did not arrive in time"),
    (errors.LimitRequestLine, HTTPStatus.REQUEST_URI_TOO_LONG, "the request's target is too long"),
    (errors.LimitRequestHeaders, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers, or too large ones"),
    (errors.ExpectationFailed, HTTPStatus.EXPECTATION_FAILED, "the only expectation that is met is 100-continue"),
    (errors.ParseException, HTTPStatus.BAD_REQUEST, "the request is not HTTP/1.1"),
)
KINDS: tuple[type[Exception], ...] = (TooSlow, errors.ParseException)
"""What is refused: all others are faults of ours."""

_OURS = HTTPStatus.INTERNAL_SERVER_ERROR, "the request failed by a fault of the server's"

_HOST = re.compile(r"([\w.~-]+|\[[\da-f:.]+\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)


def check_host(request: Any) -> None:
    """Refuse a request of gunicorn's that names no host, as HTTP/1.1 must, or none that there can be.

    Raises gunicorn's InvalidHeader.
    """
    hosts = [value for name, value in request.headers if name == "HOST"]
    if not hosts and request.version >= (1, 1):
        raise errors.InvalidHeader("HOST", req=request)
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise errors.InvalidHeader("HOST", req=request)


def of(error: BaseException) -> tuple[HTTPStatus, str]:
    """The status that a fault is answered with, and why in words that tell nothing of the inside."""
    return next(((status, detail) for kind, status, detail in _STATUSES if isinstance(error, kind)), _OURS)


def answer(status: HTTPStatus, detail: str) -> bytes:
    """A whole answer, as a problem (RFC 9457), after which the connection ends."""
    problem = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    body = json.dumps(problem).encode()
    headers = {
        "Connection": "close",
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Content-Security-Policy": NOTHING,
        **ALWAYS,
    }
    lines = [f"HTTP/1.1 {status} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body
