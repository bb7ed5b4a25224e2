"""Keeps one process of the Procfile alive: `python -m echo_tasks.local.keep NAME COMMAND…`.

honcho ends all processes when one of them ends. Under a keeper a process that died is started again, after a pause;
the keeper itself ends, and with it the farm, when it is told to, when the process says that it is misconfigured
(EX_CONFIG), or when it dies again and again without ever having been healthy.

With `--door` before the name the keeper listens at the API's port, and `{door}` in the command is that socket's number:
whoever comes while the process is started again, or replaced (SIGUSR2), stands in line and is not refused.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence

from echo_tasks.errors import SettingsError, exit_misconfigured
from echo_tasks.local import waiting
from echo_tasks.local.kept import Kept
from echo_tasks.settings import Settings, current

LINE = 2048
"""Connections that stand in line at a door."""


def keep(name: str, command: Sequence[str], settings: Settings, door: socket.socket | None = None) -> int:
    """Keep the process alive until there is a reason to end; the exit status. Blocks signals for good."""
    waiting.block()
    number = None if door is None else door.fileno()
    kept = Kept(
        name,
        [word.replace("{door}", str(number)) for word in command],
        settings,
        by="keep",
        record=os.environ.get("HONCHO_PROCESS_NAME", name),
        door=number,
    )
    while (end := kept.turn(time.monotonic())) is None:
        told = waiting.signal_within(kept.pause_s(time.monotonic()))
        if told == waiting.REPLACE:
            kept.replace(time.monotonic())
        elif told:
            kept.tell(told)
    return end.exit_status


def _door(settings: Settings) -> socket.socket:
    """The API's door, the only one that there is."""
    host, port = settings.api_host, settings.api_port
    try:
        if ":" not in host:
            return socket.create_server((host, port), backlog=LINE)
        family, both = socket.AF_INET6, socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=LINE, dualstack_ipv6=both)
    except OSError as error:
        exit_misconfigured(SettingsError([f"API_HOST={host} API_PORT={port}: {error.strerror}"]))


if __name__ == "__main__":
    words = sys.argv[1:]
    has_door = words[:1] == ["--door"]
    if len(words) < 2 + has_door:
        raise SystemExit("usage: python -m echo_tasks.local.keep [--door] NAME COMMAND…")
    chosen = current()
    opened = _door(chosen) if has_door else None
    raise SystemExit(keep(words[has_door], words[has_door + 1 :], chosen, opened))
