"""Streams and long waits through the edge, and clients that are too slow for it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from asking import ask, connected
from processes import Site

from bench.edge import Edge

pytestmark = pytest.mark.farm

LONG = {"membranes": ["grammar"], "cache": False, "options": {"max_tokens": 1000, "temperature": 0}}


def lines(client: Any) -> Any:
    """What comes, line by line, until the stream ends."""
    with client.makefile("rb") as file:
        yield from file


def test_events_come_one_by_one(front: Edge, farm: Site) -> None:
    """The first token is there while the job runs; after its cancellation the last event is, and the stream ends."""
    job_id = ask(front, "POST", "/api/jobs", {"input_text": "Go on.", **LONG}).json["job_id"]
    with connected(front) as client:
        client.sendall(f"GET /api/jobs/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        stream = lines(client)
        next(line for line in stream if line.startswith(b"event: token"))
        assert farm.get(f"/api/jobs/{job_id}").json["status"] == "running"
        assert ask(front, "DELETE", f"/api/jobs/{job_id}").status == 200
        assert any(b'"cancelled"' in line for line in stream)
        assert any(line == b"0\r\n" for line in stream)


def test_a_stream_is_resumed(front: Edge) -> None:
    """`Last-Event-ID` passes; behind the last event there is nothing to come."""
    job = ask(front, "POST", "/api/jobs", {"input_text": "a", **LONG}).json
    ask(front, "DELETE", f"/api/jobs/{job['job_id']}")
    events = ask(front, "GET", job["links"]["events"])
    assert events.headers["Content-Type"].startswith("text/event-stream")
    assert "Content-Encoding" not in events.headers
    last = [line[4:] for line in events.body.decode().splitlines() if line.startswith("id: ")][-1]
    assert ask(front, "GET", job["links"]["events"], headers={"Last-Event-ID": last}).status == 204


def test_a_long_wait_is_waited_for(front: Edge) -> None:
    """`Prefer: wait` passes, and what it waits for comes as soon as it is there, or when the time is over."""
    short = LONG | {"options": {"max_tokens": 2}}
    done = ask(front, "POST", "/api/jobs", {"input_text": "a", **short}, {"Prefer": "wait=60"})
    assert (done.status, done.json["status"]) == (200, "succeeded"), done
    waited = ask(front, "POST", "/api/jobs", {"input_text": "a", **LONG}, {"Prefer": "wait=1"})
    assert (waited.status, waited.headers["Preference-Applied"]) == (202, "wait=1")
    ask(front, "DELETE", waited.json["links"]["cancel"])


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /livez HTTP/1.1\r\nHost: loc",
        b"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_slow_client_is_let_go(front: Edge, sent: bytes) -> None:
    """After EDGE_CLIENT_TIMEOUT_S, two seconds here: told so, or not, its connection ends."""
    with connected(front) as client:
        client.sendall(sent)
        began = time.monotonic()
        answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert time.monotonic() - began > 1.5
    assert answer == b"" or answer.startswith(b"HTTP/1.1 408 "), answer


def test_a_head_that_trickles_is_no_way_around(front: Edge) -> None:
    """The time is for the whole of it: a byte now and then does not prolong it."""
    with connected(front) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        client.settimeout(0.2)
        for _ in range(50):
            with suppress(TimeoutError):
                assert client.recv(4096) == b""
                return
            with suppress(OSError):
                client.sendall(b"a")
    raise AssertionError("still connected after ten seconds")
