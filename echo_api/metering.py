"""Counting and timing the API's requests."""

from __future__ import annotations

import time
from http import HTTPMethod

from flask import Flask, Response, g, request

from echo_api.farm import farm
from echo_tasks.telemetry.http import HTTP_REQUESTS, HTTP_SECONDS

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
    took_s = time.perf_counter() - g.began
    HTTP_SECONDS.labels(route).observe(took_s)
    if route.startswith("/api/"):  # probes and scrapes are quick, and no client's
        farm().response_time.add(took_s)
    return response
