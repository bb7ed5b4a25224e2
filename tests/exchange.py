"""A small HTTP server for fakes of other people's APIs: it keeps what it was asked, and fails where it is told to."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Reply:
    """What it is answered; no body is no content."""

    status: int
    body: Any = None


class Refusal(Exception):
    """Raised by a fake in place of an answer."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.reply = Reply(status, body)


@dataclass
class Fault:
    """What happens to the next so many requests that match, before, or instead of, their answers."""

    pattern: str
    times: int
    reply: Reply | None = None
    delay_s: float = 0.0
    meanwhile: Callable[[], object] | None = None


@dataclass
class Fake:
    """An API's state; `answer` is called for one request at a time."""

    asked: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def answer(self, request: Request) -> Reply:
        raise NotImplementedError

    def fail(self, pattern: str, status: int, body: Any, times: int = 1) -> None:
        """Have requests like `METHOD path` refused."""
        self.faults.append(Fault(pattern, times, Reply(status, body)))

    def delay(self, pattern: str, seconds: float, times: int = 1) -> None:
        """Have them wait."""
        self.faults.append(Fault(pattern, times, delay_s=seconds))

    def meanwhile(self, pattern: str, happens: Callable[[], object]) -> None:
        """Have something happen before the next such request is answered."""
        self.faults.append(Fault(pattern, 1, meanwhile=happens))

    def asked_for(self, pattern: str) -> list[Request]:
        """The requests like `METHOD path` so far."""
        return [request for request in self.asked if re.search(pattern, str(request))]

    def take(self, request: Request) -> Reply:
        with self.lock:
            self.asked.append(request)
            fault = next((one for one in self.faults if one.times and re.search(one.pattern, str(request))), None)
            if fault:
                fault.times -= 1
        if fault:
            time.sleep(fault.delay_s)
        with self.lock:
            if fault and fault.meanwhile:
                fault.meanwhile()
            if fault and fault.reply:
                return fault.reply
            try:
                return self.answer(request)
            except Refusal as refusal:
                return refusal.reply


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that none outlives its test


class _SocketServer(_Server):
    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)  # not TCPServer's way, which wants a host and a port

    def get_request(self) -> tuple[socket.socket, Any]:
        client, _ = self.socket.accept()
        return client, ("local", 0)


@contextmanager
def served(fake: Fake, at: Path | None = None, certificate: Path | None = None) -> Iterator[str]:
    """Serve the fake on a free port of loopback, or at a socket of that path; its `host:port`, or the path.

    `certificate` is a file with that and its key, for TLS.
    """

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            raw = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            query = dict(parse_qsl(parts.query))
            reply = fake.take(Request(self.command, parts.path, query, headers, json.loads(raw) if raw else None))
            data = b"" if reply.body is None else json.dumps(reply.body).encode()
            try:
                self.send_response(reply.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # the client did not wait

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _take  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    server = _SocketServer(str(at), Handler) if at else _Server(("127.0.0.1", 0), Handler)  # type: ignore[arg-type]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield str(at) if at else f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
