"""The images' health check: of several names, the first on whose port somebody listens says how it is."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from processes import PYTHON, ROOT, free_port


class Ailing(BaseHTTPRequestHandler):
    """Well on every path but one."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in {"/health", "/tools/flower/healthcheck"} else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Ailing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def health(*names: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, "-S", str(ROOT / "docker" / "health.py"), *names]
    return subprocess.run(command, env=env, capture_output=True, text=True)


def test_it_is_as_the_process_says(port: int) -> None:
    """200 is well; 503 is not, and nor is nobody."""
    assert health("worker", WORKER_METRICS_PORT=str(port), WORKER_METRICS_ADDRESS="0.0.0.0").returncode == 0
    assert health("api", API_PORT=str(port)).returncode == 1
    nobody = health("api", API_PORT=str(free_port()))
    assert (nobody.returncode, nobody.stdout) == (1, "nobody listens: api\n")


def test_the_first_that_listens_counts(port: int) -> None:
    """One image has three commands, and one check for them."""
    others = {"CONTROLLER_PORT": str(free_port()), "EXPORTER_PORT": str(free_port())}
    asked = health(
        "controller", "exporter", "flower", FLOWER_PORT=str(port), FLOWER_URL_PREFIX="tools/flower", **others
    )
    assert asked.returncode == 0, asked.stdout
    assert health("controller", "exporter", "flower", FLOWER_PORT=str(port), **others).returncode == 1
