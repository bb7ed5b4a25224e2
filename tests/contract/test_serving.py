"""The small server: it answers what it knows, tells nothing of its faults, and is held up by nobody."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection

import pytest
from structlog.testing import capture_logs

from echo_tasks import serving
from echo_tasks.serving import Answer, Server

Start = Callable[[Mapping[str, Callable[[], Answer]]], Server]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts servers on free ports of loopback, and ends them."""
    started = []

    def start(answers: Mapping[str, Callable[[], Answer]]) -> Server:
        server = Server("127.0.0.1", 0, answers)
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


def well() -> Answer:
    return 200, "text/plain", b"well\n"


def broken() -> Answer:
    raise RuntimeError("password=hunter2")


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_path_is_a_function(start: Start) -> None:
    """What it answers, comes; a query is no part of the path; what is not there is told beside what is."""
    server = start({"/health": well, "/teapot": lambda: (418, "text/plain", b"short and stout")})
    assert ask(server.port, "/health") == (200, "well\n")
    assert ask(server.port, "/health?verbose=1") == (200, "well\n")
    assert ask(server.port, "/teapot") == (418, "short and stout")
    assert ask(server.port, "/") == (404, "there is: /health, /teapot\n")
    assert ask(server.port, "/health", "POST")[0] == 501


def test_a_fault_is_told_to_the_log_alone(start: Start) -> None:
    """A function that raises is a 500 without a word of why, and the next answer is as ever."""
    server = start({"/broken": broken, "/health": well})
    with capture_logs() as lines:
        assert ask(server.port, "/broken") == (500, "failed; the log tells why\n")
    assert [(line["event"], line["path"], line["log_level"]) for line in lines] == [("no answer", "/broken", "error")]
    assert ask(server.port, "/health") == (200, "well\n")


def test_nobody_waits_for_a_slow_client(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never ends its request is let go in time, and others are answered meanwhile."""
    monkeypatch.setattr(serving, "SLOW_S", 0.5)
    server = start({"/health": well})
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as slow:
        slow.sendall(b"GET /health HTT")
        assert ask(server.port, "/health") == (200, "well\n")
        assert slow.recv(1) == b""


def test_a_client_that_goes_away_is_no_fault(start: Start) -> None:
    """Garbage, too: the next one is answered."""
    server = start({"/big": lambda: (200, "text/plain", b"x" * 2**24), "/health": well})
    with capture_logs() as lines:
        for said in (b"GET /big HTTP/1.0\r\n\r\n", b"\x00\xff\r\n\r\n", b"GET " + b"/" * 70_000):
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as rude:
                rude.sendall(said)
        assert ask(server.port, "/health") == (200, "well\n")
    assert {line["log_level"] for line in lines} <= {"debug"}


def test_an_address_that_cannot_be_bound_is_an_error(start: Start) -> None:
    """A port that is taken, an address of nobody here; once a server has stopped its port is free."""
    taken = start({"/health": well})
    with pytest.raises(OSError, match="in use"):
        Server("127.0.0.1", taken.port, {})
    with pytest.raises(OSError, match=r"assign|available"):
        Server("192.0.2.1", 0, {})
    taken.stop()
    Server("127.0.0.1", taken.port, {}).stop()  # never started, and ends nevertheless


def test_an_address_may_be_of_the_sixth_version() -> None:
    """As the settings take it."""
    try:
        server = Server("::1", 0, {"/health": well})
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    server.start()
    connection = HTTPConnection("::1", server.port, timeout=5)
    connection.request("GET", "/health")
    assert connection.getresponse().read() == b"well\n"
    connection.close()
    server.stop()
