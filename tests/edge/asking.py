"""Asking an edge, as its clients do."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from processes import Answer, Running

from bench.edge import Edge

ADMIN_KEY = "0123456789abcdef" * 2

ACCESS_LOG = {"GUNICORN_CMD_ARGS": "--access-logfile -"}
"""Has an API log each request with the address that it takes for the client's."""


@dataclass(frozen=True)
class Open:
    """An API that trusts no proxy and needs no key, though it knows `ADMIN_KEY`; and an edge before it."""

    api: Running
    port: int
    front: Edge


def ask(
    edge: Edge,
    method: str,
    path: str,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    *,
    is_plain: bool = False,
    source: str = "127.0.0.1",
) -> Answer:
    """One exchange over TLS, or without, from an address of loopback; status 0 when nobody answers.

    Headers of one name are put together.
    """
    if is_plain:
        connection = http.client.HTTPConnection("127.0.0.1", edge.http_port, 90, (source, 0))
    else:
        tls = edge.tls()
        connection = http.client.HTTPSConnection(
            "localhost", edge.https_port, context=tls, timeout=90, source_address=(source, 0)
        )
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with closing(connection):
        try:
            connection.request(method, path, data, {"Content-Type": "application/json"} | dict(headers or {}))
            reply = connection.getresponse()
            told = {name: ", ".join(reply.headers.get_all(name) or ()) for name in reply.headers}
            return Answer(reply.status, told, reply.read())
        except (OSError, http.client.HTTPException):
            return Answer(0, {}, b"")


def connected(edge: Edge) -> ssl.SSLSocket:
    """A connection to it, through TLS, whose client reads and writes by hand."""
    raw = socket.create_connection(("127.0.0.1", edge.https_port), timeout=20)
    return edge.tls().wrap_socket(raw, server_hostname="localhost")


def problem(answer: Answer, status: int) -> str:
    """The detail of a problem, after checking its form."""
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json"), answer
    body: dict[str, Any] = answer.json
    assert (body["status"], bool(body["title"])) == (status, True)
    return str(body["detail"])
