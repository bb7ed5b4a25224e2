"""Who is connected to the supervisor: it never waits for any of them."""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from echo_tasks.local import wire

MOST_BYTES = 1 << 20
"""What waits for a client that does not read; more lines than that are not told."""


@dataclass(eq=False)
class Client:
    """Somebody who is connected; `unit` is the program that it stands in for."""

    connection: socket.socket
    unit: str = ""
    has_told_to_stop: bool = False
    lines: wire.Lines = field(default_factory=wire.Lines)
    pending: bytearray = field(default_factory=bytearray)
    is_leaving: bool = False


class Clients:
    """All of them. `obeys` is called with what one of them says, `loses` with one that is gone without a word."""

    def __init__(
        self,
        server: socket.socket,
        selector: selectors.BaseSelector,
        obeys: Callable[[Client, wire.Message], None],
        loses: Callable[[Client], None],
    ) -> None:
        server.setblocking(False)
        self._server, self._selector = server, selector
        self._obeys, self._loses = obeys, loses
        self._all: set[Client] = set()
        selector.register(server, selectors.EVENT_READ, self._accept)

    def __bool__(self) -> bool:
        return bool(self._all)

    def of(self, unit: str) -> Iterator[Client]:
        """Those that stand in for a program."""
        return iter([client for client in self._all if client.unit == unit])

    def tell(self, client: Client, message: wire.Message) -> None:
        """Tell something, as soon as it is read."""
        if len(client.pending) < MOST_BYTES or "line" not in message:
            client.pending += json.dumps(message).encode() + b"\n"
            self._flush(client)

    def bid_farewell(self, client: Client, message: wire.Message) -> None:
        """Tell something, and then no more."""
        client.is_leaving = True
        self.tell(client, message)

    def _accept(self) -> None:
        with suppress(OSError):
            connection, _ = self._server.accept()
            connection.setblocking(False)
            client = Client(connection)
            self._all.add(client)
            self._selector.register(connection, selectors.EVENT_READ, partial(self._serve, client))

    def _serve(self, client: Client) -> None:
        self._flush(client)
        if client in self._all:
            self._hear(client)

    def _hear(self, client: Client) -> None:
        try:
            data = client.connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return self._loses(client)
        for message in client.lines.fed(data):
            self._obeys(client, message)

    def _flush(self, client: Client) -> None:
        try:
            while client.pending:
                del client.pending[: client.connection.send(client.pending)]
        except BlockingIOError:
            pass
        except OSError:  # it is gone, which its next reading tells
            client.pending.clear()
        if client.is_leaving and not client.pending:
            return self._drop(client)
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.pending else 0)
        self._selector.modify(client.connection, wanted, partial(self._serve, client))

    def _drop(self, client: Client) -> None:
        if client in self._all:
            self._all.remove(client)
            self._selector.unregister(client.connection)
            client.connection.close()
