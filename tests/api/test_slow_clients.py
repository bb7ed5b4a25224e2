"""Clients that take their time, over real sockets: they are let go, and nobody else waits for them."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
import redis
from processes import Site, until
from wire import connected, head, reply

from echo_tasks import keys

BEGUN = head("/api/jobs", "Content-Type: application/json", "Content-Length: 1000", method="POST")

WAYS = {
    "a head that goes on and on": (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"X-A: b\r\n", 408),
    "a body that goes on and on": (BEGUN, b" ", 408),
    "chunks that go on and on": (
        BEGUN.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked"),
        b"1\r\n \r\n",
        408,
    ),
    "a head that stops": (b"GET /livez HT", b"", 408),
    "a body that stops": (BEGUN + b"{", b"", 408),
    "nothing at all": (b"", b"", 0),
    "nothing after an answer": (head("/livez"), b"", 200),
}
EACH = 10


@pytest.fixture
def slow(guarded: Site) -> Iterator[dict[str, list[socket.socket]]]:
    """Some clients of each kind, who have begun."""
    with ExitStack() as stack:
        clients = {way: [stack.enter_context(connected(guarded)) for _ in range(EACH)] for way in WAYS}
        for way, (first, _, _) in WAYS.items():
            for client in clients[way]:
                client.sendall(first)
        yield clients


def test_slow_clients_are_let_go_and_others_are_served(guarded: Site, slow: dict[str, list[socket.socket]]) -> None:
    """Each gets a 408, or a closed connection where it has asked nothing; a byte now and then buys no time."""
    began, served = time.monotonic(), 0
    while time.monotonic() - began < 5:
        assert guarded.get("/livez").status == 200
        assert guarded.post("/api/jobs", {"input_text": "a"}).status == 202
        served += 1
        for way, (_, more, _) in WAYS.items():
            for client in slow[way]:
                with suppress(ConnectionError):  # let go already
                    client.sendall(more)
        time.sleep(0.2)
    assert served >= 3
    for way, (_, _, status) in WAYS.items():
        for client in slow[way]:
            answer = reply(client)
            assert answer.status == status, way
            if status == 408:
                assert answer.headers["Connection"] == "close"
            with suppress(ConnectionError):
                assert client.recv(1) == b"", way
    assert guarded.get("/livez").status == 200


def _events(guarded: Site, broker: redis.Redis, count: int, size: int) -> str:
    """A job with very much to tell."""
    job_id = guarded.post("/api/jobs", {"input_text": "a"}).json["job_id"]
    for _ in range(count):
        broker.xadd(keys.events(job_id), {"type": "token", "data": json.dumps({"text": "x" * size})})
    return str(job_id)


def test_a_reader_who_does_not_read_costs_little_and_is_let_go(guarded: Site, broker: redis.Redis) -> None:
    """Of an event stream: what is kept for him is bounded, and a client beside him reads all of it."""
    job_id = _events(guarded, broker, 400, 16_000)  # 6.4 MB
    process, followed = _process(guarded), _followed(guarded)
    before = process.memory_info().rss
    with ExitStack() as stack:
        asleep = [stack.enter_context(connected(guarded, receive_bytes=4096)) for _ in range(20)]
        for client in asleep:
            client.sendall(head(f"/api/jobs/{job_id}/events"))
        for client in asleep:
            with suppress(ConnectionResetError):  # it was served, and let go already
                assert client.recv(1, socket.MSG_PEEK)
        with connected(guarded) as awake:
            awake.sendall(head(f"/api/jobs/{job_id}/events"))
            got = 0
            while got < 400 * 16_000:
                got += len(awake.recv(1 << 20))
        assert _most_unsent(guarded) < 512 * 1024
        assert process.memory_info().rss - before < 100 * 2**20
        until(lambda: _followed(guarded) <= followed + 1, "they are let go, while who left is not missed yet")


def _process(guarded: Site) -> psutil.Process:
    """That which serves: the younger of the two who have the port."""
    port = int(guarded.env["API_PORT"])
    listening = {one.pid for one in psutil.net_connections("tcp") if one.status == "LISTEN" and one.laddr.port == port}
    return max(map(psutil.Process, listening), key=psutil.Process.create_time)


def _most_unsent(guarded: Site) -> int:
    """Bytes that the kernel keeps for the client of whom it keeps most."""
    port = f":{int(guarded.env['API_PORT']):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return max(int(row[4].partition(":")[0], 16) for row in rows if row[1].endswith(port))


def _followed(guarded: Site) -> int:
    (line,) = [
        line for line in guarded.get("/metrics").body.decode().splitlines() if line.startswith("echo_event_streams ")
    ]
    return int(float(line.split()[1]))


def test_a_key_that_is_read_slowly_is_read_whole(guarded: Site) -> None:
    """A large answer takes longer than a piece of it may: a client that goes on reading gets all."""
    value, place = "x" * 900_000, f"/api/cache/{uuid.uuid4().hex}"
    assert guarded.post(place, {"value": value}).status == 200
    with connected(guarded, receive_bytes=4096) as client:
        client.sendall(head(place, "Connection: close"))
        got, began = 0, time.monotonic()
        while data := client.recv(64 * 1024):
            got += len(data)
            if time.monotonic() - began < 4:
                time.sleep(0.05)
    assert got > len(value)
