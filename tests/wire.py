"""Bytes to and from the API's own socket, for what no client library would send."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from processes import Site


@dataclass(frozen=True)
class Reply:
    """What came back; status 0 for a connection that was closed without a word."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        """All of it, to look for what must not be there."""
        return f"{self.headers}\n{self.body.decode(errors='replace')}"


@contextmanager
def connected(site: Site, within_s: float = 20, receive_bytes: int | None = None) -> Iterator[socket.socket]:
    """A connection to the API; `receive_bytes` is what the kernel takes in for a client that does not read."""
    with socket.socket() as client:
        client.settimeout(within_s)
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.connect(("127.0.0.1", int(site.env["API_PORT"])))
        yield client


def reply(client: socket.socket, method: str = "GET") -> Reply:
    """The next answer on a connection. Raises TimeoutError when none comes."""
    response = http.client.HTTPResponse(client, method=method)
    try:
        response.begin()
        return Reply(response.status, response.headers, response.read())
    except (http.client.BadStatusLine, ConnectionError):
        return Reply(0, http.client.HTTPMessage(), b"")
    finally:
        response.close()


def exchange(site: Site, sent: bytes) -> Reply:
    """The answer to some bytes, which need not be a request."""
    with connected(site) as client:
        with suppress(ConnectionError):  # refused before all of it was taken
            client.sendall(sent)
        return reply(client)


def head(target: str, *headers: str, method: str = "GET") -> bytes:
    """The head of a request as it is, with a Host where none is given."""
    named = any(header.lower().startswith("host:") for header in headers)
    lines = [f"{method} {target} HTTP/1.1", *([] if named else ["Host: localhost"]), *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")
