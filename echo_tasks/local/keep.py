"""Keeps one process of the Procfile alive: `python -m echo_tasks.local.keep NAME COMMAND…`.

honcho ends all processes when one of them ends. Under a keeper a process that died is started again, after a pause;
the keeper itself ends, and with it the farm, when it is told to, when the process says that it is misconfigured
(EX_CONFIG), or when it dies again and again without ever having been healthy.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from echo_tasks.local import waiting
from echo_tasks.local.kept import Kept
from echo_tasks.settings import Settings, current


def keep(name: str, command: Sequence[str], settings: Settings) -> int:
    """Keep the process alive until there is a reason to end; the exit status. Blocks signals for good."""
    waiting.block()
    kept = Kept(name, command, settings, by="keep", record=os.environ.get("HONCHO_PROCESS_NAME", name))
    while (end := kept.turn(time.monotonic())) is None:
        if number := waiting.signal_within(kept.pause_s(time.monotonic())):
            kept.tell(number)
    return end.exit_status


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit("usage: python -m echo_tasks.local.keep NAME COMMAND…")
    raise SystemExit(keep(sys.argv[1], sys.argv[2:], current()))
