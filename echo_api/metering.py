"""Counting and timing the API's requests."""

from __future__ import annotations

import time
from http import HTTPMethod

from flask import Flask, Response, g, request

from echo_tasks.telemetry import HTTP_REQUESTS, HTTP_SECONDS

_METHODS = frozenset(HTTPMethod)


def install(app: Flask) -> None:
    """Meter every request of the application by its route."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.began = time.perf_counter()


def _end(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "unmatched"
    method = request.method if request.method in _METHODS else "other"
    HTTP_REQUESTS.labels(route, method, response.status_code).inc()
    HTTP_SECONDS.labels(route).observe(time.perf_counter() - g.began)
    return response
