"""A span for every request but probes: the trace that it comes with goes on, and the answer names the one it is in."""

from __future__ import annotations

from contextlib import ExitStack
from http import HTTPMethod

import structlog
from flask import Flask, Response, g, request

from echo_tasks import tracing

_UNTRACED = frozenset({"/livez", "/readyz", "/health", "/metrics"})
"""What is asked again and again, by machines."""

_METHODS = frozenset(HTTPMethod)

_NAMED = ("job_id", "session_id")


def install(app: Flask) -> None:
    """Trace every request of the application, and have its logs name what its path names.

    An event stream's span ends with its first byte, as every answer's does.
    """
    app.before_request(_begin)
    app.after_request(_tell)
    app.teardown_request(_end)


def _begin() -> None:
    structlog.contextvars.clear_contextvars()  # a connection's requests share them
    named = {name: value for name, value in (request.view_args or {}).items() if name in _NAMED}
    structlog.contextvars.bind_contextvars(**named)
    route = request.url_rule.rule if request.url_rule else "unmatched"
    if not tracing.is_on() or route in _UNTRACED:
        return
    method = request.method if request.method in _METHODS else "_OTHER"
    told = {"http.request.method": method, "http.route": route}
    told |= {f"echo.{name}": value for name, value in named.items()}
    g.traced = ExitStack()
    g.span = g.traced.enter_context(
        tracing.span(f"{method} {route}", "server", of=tracing.carried(request.headers), attributes=told)
    )


def _tell(response: Response) -> Response:
    if "span" in g:
        g.span.set({"http.response.status_code": response.status_code})
        if response.status_code >= 500:
            g.span.fail(str(response.status_code))
        response.headers["traceresponse"] = tracing.current()["traceparent"]
    return response


def _end(_: BaseException | None) -> None:
    if traced := g.pop("traced", None):
        traced.close()
