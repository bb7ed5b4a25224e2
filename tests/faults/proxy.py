"""A TCP proxy on loopback whose connections go wrong as networks do: slowly, silently, or at once."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK_BYTES = 65536

Loses = Callable[[bytes], bool]
"""Whether a connection is lost when a client sends this."""


def everything(data: bytes) -> bool:
    """What a black hole loses."""
    return True


@dataclass(frozen=True)
class Weather:
    """How all connections fare at the moment.

    `loses` makes a connection half-open: from then on, for as long as it lives, both sides may send and nothing
    arrives, whatever the weather.
    """

    delay_s: float = 0
    bytes_per_s: float | None = None
    loses: Loses | None = None


FAIR = Weather()
BLACK_HOLE = Weather(loses=everything)


@dataclass(eq=False)
class Link:
    """One connection of a client through the proxy to the server."""

    client: socket.socket
    server: socket.socket
    is_lost: threading.Event = field(default_factory=threading.Event)

    def close(self, *, reset: bool = False) -> None:
        """End it on both sides, with RST instead of FIN if told so."""
        self.is_lost.set()  # so that no thread that carries it says anything more
        for end in (self.client, self.server):
            with suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)  # wakes who reads from it
            end.close()


class Proxy:
    """Listens on a free port and carries bytes to and from `target_port`, both on loopback, until closed."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.weather = FAIR
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        self.lost = threading.Event()
        """Set when the present weather has cost a connection, which is `lost_link` then."""
        self.lost_link: Link | None = None
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @contextmanager
    def under(self, weather: Weather) -> Iterator[None]:
        """Have this weather until the block ends."""
        self.lost.clear()
        self.weather = weather
        try:
            yield
        finally:
            self.weather = FAIR

    def lose(self) -> None:
        """Make all connections that there are half-open; new ones are as good as the weather."""
        for link in self.links():
            link.is_lost.set()

    def cut(self, *, reset: bool = False) -> None:
        """End all connections that there are, with RST if told so."""
        for link in self.links():
            link.close(reset=reset)

    def half_close(self) -> None:
        """Tell all clients that the server sends nothing any more, and go on taking what they send."""
        for link in self.links():
            with suppress(OSError):
                link.client.shutdown(socket.SHUT_WR)

    def links(self) -> list[Link]:
        """The connections that are open now."""
        with self._lock:
            return list(self._links)

    def close(self) -> None:
        """Listen no more, and end all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._link, args=(client,), name="link", daemon=True).start()

    def _link(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        link = Link(client, server)
        with self._lock:
            self._links.add(link)
        back = threading.Thread(target=self._carry, args=(link, server, client), name="link back", daemon=True)
        back.start()
        self._carry(link, client, server)
        back.join()
        with self._lock:
            self._links.discard(link)
        link.close()

    def _carry(self, link: Link, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                weather = self.weather
                if weather.loses and source is link.client and weather.loses(data):
                    link.is_lost.set()
                    self.lost_link = link
                    self.lost.set()
                time.sleep(weather.delay_s + (len(data) / weather.bytes_per_s if weather.bytes_per_s else 0))
                if not link.is_lost.is_set():
                    sink.sendall(data)
        with suppress(OSError):
            if not link.is_lost.is_set():
                sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(target_port: int) -> Iterator[Proxy]:
    """A proxy, closed when the block ends."""
    between = Proxy(target_port)
    try:
        yield between
    finally:
        between.close()
