"""The controller's own little server: its metrics, and its health as it is."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from autoscale.controller import Standing

LATEST_S = 10.0
"""A controller whose latest round is longer ago is not well: its broker is away, or it hangs."""

Answer = tuple[int, str, bytes]


def health(standing: Standing, now: float) -> tuple[int, dict[str, Any]]:
    """Status and body: 503 unless a round was over of late. A fault of the actuator's is told; it is not ours."""
    is_well = now - standing.at <= LATEST_S
    state = standing.state
    fault = state.fault if state else ""
    return 200 if is_well else 503, {
        "status": "unhealthy" if not is_well else "degraded" if fault else "healthy",
        "detail": fault
        if is_well
        else "no round was over of late: the broker does not answer, or the controller hangs",
        "leads": standing.leads and is_well,
        "state": state.model_dump() if state and is_well else None,
    }


class Server:
    """Serves `/metrics` and `/health` from threads of its own."""

    def __init__(self, address: str, port: int, standing: Callable[[], Standing]) -> None:
        """Raises OSError for an address that cannot be bound."""
        self._server = ThreadingHTTPServer((address, port), _handler(standing))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="server", daemon=True)

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End, and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(standing: Callable[[], Standing]) -> type[BaseHTTPRequestHandler]:
    def of_health() -> Answer:
        status, body = health(standing(), time.monotonic())
        return status, "application/json", json.dumps(body).encode()

    answers: dict[str, Callable[[], Answer]] = {
        "/health": of_health,
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, generate_latest()),
    }

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            answer = answers.get(self.path.partition("?")[0])
            status, kind, body = answer() if answer else (404, "text/plain", b"there are /health and /metrics\n")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Not a line for each scrape."""

    return Handler
