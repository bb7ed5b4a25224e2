"""The API's listening socket: it outlives the API, so that whoever comes meanwhile stands in line."""

from __future__ import annotations

import socket

from echo_tasks.errors import SettingsError
from echo_tasks.local.guarded import Guarded
from echo_tasks.settings import Settings

LINE = 2048
"""Connections that stand in line."""

_NAME = "door"


def of(settings: Settings, guarded: Guarded) -> int:
    """The descriptor of the socket, opened unless a supervisor before this one has. Raises SettingsError."""
    _, descriptors = guarded.kept.get(_NAME, ("", []))
    if not descriptors:
        descriptors = [_opened(settings.api_host, settings.api_port).detach()]
        guarded.keep(_NAME, {}, descriptors)
    return descriptors[0]


def _opened(host: str, port: int) -> socket.socket:
    try:
        if ":" not in host:
            return socket.create_server((host, port), backlog=LINE)
        family, both = socket.AF_INET6, socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=LINE, dualstack_ipv6=both)
    except OSError as error:
        raise SettingsError([f"API_HOST={host} API_PORT={port}: {error.strerror}"]) from error
