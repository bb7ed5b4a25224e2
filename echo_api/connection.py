"""A client's connection that is kept in time: a head, a body or an answer that takes too long ends it."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from echo_tasks.settings import Settings

PIECE_BYTES = 64 * 1024
"""What of an answer a client has to take within its time; a large answer is many such pieces."""

UNSENT_BYTES = 128 * 1024
"""What of an answer the kernel keeps for a client that does not read; without a limit it is megabytes."""


class Phase(Enum):
    """What of a request is awaited."""

    BEGINNING = "beginning"
    HEAD = "head"
    BODY = "body"


class TooSlow(Exception):
    """The client did not send the rest of its request in time. No OSError: those count as a client's going away."""

    def __init__(self, phase: Phase) -> None:
        super().__init__(f"the {phase.value} of the request did not arrive in time")
        self.phase = phase


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a client may take to begin a request, over its head and its body, and to read a piece."""

    idle_s: float
    head_s: float
    body_s: float
    read_s: float

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """As the settings have it."""
        return cls(settings.client_idle_s, settings.client_head_s, settings.client_body_s, settings.client_read_s)


class Connection:
    """A socket as gunicorn uses one. Blocks no longer than its client is given; its times are counted from its making.

    The time of a head or a body is for the whole of it: a byte now and then does not prolong it.
    """

    def __init__(self, client: Any, patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        self._socket = client
        self._patience = patience
        self._clock = clock
        self._on_slow: Callable[[], object] = lambda: None
        self._bound()
        self.await_request()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def await_request(self) -> None:
        """A request is to begin, or the client may go."""
        self._await(Phase.BEGINNING, self._patience.idle_s)

    def await_body(self, on_slow: Callable[[], object]) -> None:
        """What comes now is a body; `on_slow` is called when it does not come in time."""
        self._on_slow = on_slow
        self._await(Phase.BODY, self._patience.body_s)

    def recv(self, size: int) -> bytes:
        """Some bytes; none when the client is gone or begins no request. Raises TooSlow."""
        try:
            data = self._received(size)
        except TimeoutError:
            if self._phase is Phase.BEGINNING:
                return b""
            self._on_slow()
            raise TooSlow(self._phase) from None
        if self._phase is Phase.BEGINNING:
            self._await(Phase.HEAD, self._patience.head_s)
        return data

    def sendall(self, data: bytes) -> None:
        """Send all of it. Raises BrokenPipeError for a client that does not read, too."""
        pieces = memoryview(data)
        for start in range(0, len(data), PIECE_BYTES):
            self._socket.settimeout(self._patience.read_s)
            try:
                self._socket.sendall(pieces[start : start + PIECE_BYTES])
            except TimeoutError:
                raise BrokenPipeError(errno.EPIPE, "the client does not read its answer") from None

    def _await(self, phase: Phase, within_s: float) -> None:
        self._phase, self._until = phase, self._clock() + within_s

    def _received(self, size: int) -> bytes:
        left_s = self._until - self._clock()
        if left_s <= 0:
            raise TimeoutError
        self._socket.settimeout(left_s)
        data: bytes = self._socket.recv(size)
        return data

    def _bound(self) -> None:
        """Have the kernel keep little for the client, and find out in time that it has vanished without a word."""
        options = {"TCP_NOTSENT_LOWAT": UNSENT_BYTES, "TCP_USER_TIMEOUT": round(1000 * self._patience.read_s)}
        for name, value in options.items():
            if hasattr(socket, name):
                with suppress(OSError):  # a Unix socket has no such
                    self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
