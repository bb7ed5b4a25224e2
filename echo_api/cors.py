"""Cross-origin requests: which pages of other origins a browser lets use this API."""

from __future__ import annotations

from flask import Flask, Response, current_app, request

from echo_api.farm import farm

MOST_S = 7200
"""How long a browser may remember what it was allowed; Chromium's own limit."""

_ASKED = ", ".join(
    (
        "Authorization",
        "X-API-Key",
        "Content-Type",
        "Idempotency-Key",
        "Prefer",
        "Cache-Control",
        "If-None-Match",
        "Last-Event-ID",
        "traceparent",
        "tracestate",
    )
)
_SHOWN = ", ".join(
    (
        "Location",
        "Link",
        "ETag",
        "Age",
        "Cache-Status",
        "Preference-Applied",
        "Retry-After",
        "RateLimit",
        "RateLimit-Policy",
        "RateLimit-Limit",
        "RateLimit-Remaining",
        "RateLimit-Reset",
        "WWW-Authenticate",
        "traceresponse",
    )
)
"""What a page may read of an answer beside its body and the few headers that it always may."""


def install(app: Flask) -> None:
    """Answer what browsers ask beforehand, and name the page's origin in answers, where CORS_ORIGINS lets it in.

    Keys travel in a header that pages set themselves: no answer ever allows a browser's own credentials. What is asked
    beforehand carries no key, so install it before whatever wants one.
    """
    app.before_request(_answer_preflight)
    app.after_request(_allow)


def _answer_preflight() -> Response | None:
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    answer = Response(status=204)
    answer.vary.update(["Access-Control-Request-Method", "Access-Control-Request-Headers"])
    if _allowed_origin():
        methods = current_app.create_url_adapter(request).allowed_methods()  # type: ignore[union-attr]
        answer.headers["Access-Control-Allow-Methods"] = ", ".join(sorted(methods))
        answer.headers["Access-Control-Allow-Headers"] = _ASKED
        answer.headers["Access-Control-Max-Age"] = str(MOST_S)
    return answer


def _allow(response: Response) -> Response:
    origins = farm().settings.cors_origins
    if not origins:
        return response
    if "*" not in origins:
        response.vary.add("Origin")  # in every answer: a cache must not give one page another one's
    if origin := _allowed_origin():
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = _SHOWN
    return response


def _allowed_origin() -> str:
    """What an answer names for its page's origin; nothing for one that is not let in."""
    origins = farm().settings.cors_origins
    if "*" in origins:
        return "*"
    origin = request.headers.get("Origin", "")
    return origin if origin in origins else ""
