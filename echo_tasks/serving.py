"""A small HTTP server for what a process tells of itself: a path is a function that gives the answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from echo_tasks import logs

Answer = tuple[int, str, bytes]
"""Status, content type, body."""

SLOW_S = 10.0
"""How long a client may take over its next byte, in or out."""

log = logs.get(__name__)


class Server:
    """Answers GET from threads of its own, of which each lives for one request."""

    def __init__(self, address: str, port: int, answers: Mapping[str, Callable[[], Answer]]) -> None:
        """Port 0 takes one that is free. Raises OSError for an address or a port that cannot be bound."""
        self._server = _Listener(address, port, _handler(answers))
        self._thread = threading.Thread(target=self._server.serve_forever, name="server", daemon=True)

    @property
    def port(self) -> int:
        """The port that is bound."""
        return self._server.server_port

    def start(self) -> None:
        """Start to serve."""
        self._thread.start()

    def stop(self) -> None:
        """End, and free the port. Blocks for half a second at most; answers under way are not waited for."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), handler)

    def server_bind(self) -> None:
        """As http.server's, which asks for the host's name besides: where no name server answers, for a long time."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away, or was too slow to read."""
        log.debug("connection broken", client=client_address[0], exc_info=True)


def _handler(answers: Mapping[str, Callable[[], Answer]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SLOW_S
        server_version, sys_version = "echo", ""

        def do_GET(self) -> None:
            status, kind, body = _answer(answers, self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Not a line for each scrape."""

    return Handler


def _answer(answers: Mapping[str, Callable[[], Answer]], path: str) -> Answer:
    answer = answers.get(path)
    if answer is None:
        return 404, "text/plain", f"there is: {', '.join(answers)}\n".encode()
    try:
        return answer()
    except Exception:  # whoever asks gets an answer, whatever is wrong here
        log.exception("no answer", path=path)
        return 500, "text/plain", b"failed; the log tells why\n"
