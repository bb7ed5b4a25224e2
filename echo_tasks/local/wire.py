"""How the processes of one machine speak with the farm's supervisor: lines of JSON over a Unix socket in ECHO_VAR."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_LONGEST_PATH = 100
"""Of a Unix socket's address there are 108 bytes at most on Linux, 104 elsewhere."""

Message = dict[str, Any]


def place(var: Path) -> Path:
    """Where the supervisor of the farm in this folder listens."""
    return var.resolve() / "run" / "farm.sock"


def listen(var: Path) -> socket.socket:
    """The supervisor's socket, in the place of what an earlier one may have left behind. Raises OSError."""
    path = place(var)
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        path.unlink()
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _within_reach(path) as address:
        server.bind(address)
    path.chmod(0o600)
    server.listen(64)
    return server


def connect(var: Path) -> socket.socket | None:
    """A connection to the supervisor of the farm in this folder; None where there is none."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _within_reach(place(var)) as address:
            client.connect(address)
    except OSError:
        client.close()
        return None
    return client


def send(connection: socket.socket, message: Message) -> None:
    """Send a message. Raises OSError."""
    connection.sendall(json.dumps(message).encode() + b"\n")


class Lines:
    """What comes over a connection, cut into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def fed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole with what has come now; what is none is passed over."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            with suppress(ValueError):
                message = json.loads(line)
                if isinstance(message, dict):
                    yield message


def ask(var: Path, message: Message, timeout_s: float = 5) -> Message | None:
    """What the supervisor answers first; None where there is none, or it does not answer in time."""
    connection = connect(var)
    if connection is None:
        return None
    lines = Lines()
    with connection:
        connection.settimeout(timeout_s)
        try:
            send(connection, message)
            while data := connection.recv(65536):
                for answer in lines.fed(data):
                    return answer
        except OSError:
            return None
    return None


@contextmanager
def _within_reach(path: Path) -> Iterator[str]:
    """An address of the socket that is short enough: through its open folder, where its path is too long for one."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
