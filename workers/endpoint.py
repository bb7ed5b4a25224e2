"""The worker's own endpoint: its metrics and its health, where others find them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from prometheus_client.registry import Collector

from echo_tasks import exposition
from echo_tasks.errors import SettingsError
from echo_tasks.registry import STALLED_S
from echo_tasks.serving import Answer, Server
from echo_tasks.settings import Settings

_NOBODYS = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses of documentation (RFC 5737, RFC 3849): the way to them is the way to everybody."""


class Endpoint:
    """Serves `/metrics` and `/health` of one worker. Its port is bound from the beginning, lest another takes it."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError for an address that cannot be bound, or a port that is taken."""
        bound, port = settings.worker_metrics_address, settings.worker_metrics_port
        self._answers: dict[str, Callable[[], Answer]] = {}
        try:
            self._server = Server(bound, port, self._answers)
        except OSError as error:
            place = f"WORKER_METRICS_ADDRESS={bound} WORKER_METRICS_PORT={port}"
            raise SettingsError([f"{place}: {error.strerror}"]) from error
        host = reachable(bound, settings.broker)
        self.address = f"[{host}]:{self._server.port}" if ":" in host else f"{host}:{self._server.port}"
        """Host and port at which others reach it."""

    def start(self, *, cache: Collector, is_alive: Callable[[], bool], stalled_s: Callable[[], float]) -> None:
        """Serve from now on: what `cache` tells among the metrics, and as health the other two.

        `is_alive` tells whether the engine's thread lives, `stalled_s` for how long no message was taken.
        """
        self._answers["/metrics"] = lambda: exposition.answer(cache)
        self._answers["/health"] = lambda: _health(is_alive(), stalled_s())
        self._server.start()

    def stop(self) -> None:
        """End, and free the port. Blocks for a moment."""
        self._server.stop()


def _health(is_alive: bool, stalled_s: float) -> Answer:
    """503 without an engine, or when messages lie there and none is taken."""
    detail = "" if is_alive else "the engine's thread has ended"
    if is_alive and stalled_s >= STALLED_S:
        detail = "no message is taken, though there are some"
    told = {"status": "unhealthy" if detail else "healthy", "detail": detail, "stalled_s": stalled_s}
    return 503 if detail else 200, "application/json", json.dumps(told).encode()


def reachable(bound: str, broker: str) -> str:
    """The host under which others find what is bound to an address: the machine's own where that is every address.

    Of several it is the one from which the broker is reached, or everybody else if the broker is on this machine.
    """
    if not _is_every(bound):
        return bound
    families = [socket.AF_INET, socket.AF_INET6] if ":" in bound else [socket.AF_INET]
    ways = [(family, urlsplit(broker).hostname or "") for family in families]
    for family, host in [*ways, *((family, _NOBODYS[family]) for family in families)]:
        own = _source(family, host)
        if own and not ip_address(own).is_loopback:
            return own
    return socket.gethostname()


def _is_every(bound: str) -> bool:
    try:
        return ip_address(bound).is_unspecified
    except ValueError:  # a name
        return False


def _source(family: socket.AddressFamily, host: str) -> str:
    """The address of this machine from which packets to a host go, none of which is sent; empty without a way there."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
