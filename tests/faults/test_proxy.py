"""The proxy of the fault tests does what it says, or those tests would show nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from proxy import BLACK_HOLE, Proxy, Weather, proxy


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that says what it hears, until its client has said all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                while data := connection.recv(65536):
                    connection.sendall(data)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def between(echo_port: int) -> Iterator[Proxy]:
    """A proxy before it."""
    with proxy(echo_port) as made:
        yield made


def connect(between: Proxy, timeout_s: float = 5) -> socket.socket:
    return socket.create_connection(("127.0.0.1", between.port), timeout_s)


def said(connection: socket.socket, text: bytes) -> bytes:
    """What comes back."""
    connection.sendall(text)
    return connection.recv(65536)


def test_in_fair_weather_it_passes_all_and_ends_as_its_sides_do(between: Proxy) -> None:
    """Bytes go both ways, and the end of one direction is passed on without the other's."""
    with connect(between) as client:
        assert said(client, b"hello") == b"hello"
        client.sendall(b"last")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100) == b"last"
        assert client.recv(100) == b""


def test_delay_and_throttle_take_their_time(between: Proxy) -> None:
    """Each way has the delay once, and 1,000 bytes at 10,000 a second take a tenth."""
    with connect(between) as client:
        for weather, least_s in ((Weather(delay_s=0.1), 0.2), (Weather(bytes_per_s=10_000), 0.2)):
            with between.under(weather):
                started = time.monotonic()
                assert said(client, b"x" * 1000)
                assert time.monotonic() - started >= least_s


def test_a_black_hole_swallows_and_its_connections_stay_half_open(between: Proxy) -> None:
    """Nothing comes back, neither an answer nor an end; what was lost stays so, and new connections work."""
    with connect(between, 0.2) as old:
        assert said(old, b"before") == b"before"
        with between.under(BLACK_HOLE), pytest.raises(TimeoutError):
            said(old, b"lost")
        assert between.lost.is_set()
        with pytest.raises(TimeoutError):
            said(old, b"still lost")
        with connect(between) as new:
            assert said(new, b"after") == b"after"


def test_a_certain_message_can_be_lost(between: Proxy) -> None:
    """What comes before it passes."""
    with connect(between, 0.2) as client, between.under(Weather(loses=lambda data: b"ZADD" in data)):
        assert said(client, b"BRPOP") == b"BRPOP"
        with pytest.raises(TimeoutError):
            said(client, b"ZADD")


def test_connections_are_cut_reset_and_half_closed(between: Proxy) -> None:
    """Clients see an end, a reset, or an end after which they may still send."""
    with connect(between) as client:
        assert said(client, b"hello") == b"hello"
        between.cut()
        assert client.recv(100) == b""
    with connect(between) as client:
        assert said(client, b"hello") == b"hello"
        between.cut(reset=True)
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    with connect(between) as client:
        assert said(client, b"hello") == b"hello"
        between.half_close()
        assert client.recv(100) == b""
        client.sendall(b"taken")


def test_a_server_that_is_away_ends_the_connection() -> None:
    """As if it had been refused, a moment later."""
    with proxy(1) as between, connect(between) as client:
        assert client.recv(100) == b""
