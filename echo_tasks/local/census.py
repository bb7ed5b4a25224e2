"""Which processes of this machine are of a farm."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

from echo_tasks.local.begin import MARK
from echo_tasks.settings import Settings


def mark(settings: Settings) -> str:
    """The value of the variable."""
    return str(settings.echo_var.resolve())


def processes(settings: Settings) -> list[psutil.Process]:
    """Every live process of this folder's farm but this one, whoever its parent is by now."""
    value = mark(settings)
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return [process for process in found if process.pid != os.getpid()]


def end(settings: Settings, within_s: float, waits: Callable[[], None] = lambda: None) -> int:
    """Tell them all to end, and kill those that have not in time; how many were killed. `waits` is called meanwhile."""
    for process in processes(settings):
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    wait(settings, within_s, waits)
    left = processes(settings)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    return len(left)


def wait(settings: Settings, within_s: float, waits: Callable[[], None] = lambda: None) -> None:
    """Wait until none is left, or for so long."""
    deadline = time.monotonic() + within_s
    while processes(settings) and time.monotonic() < deadline:
        waits()
        time.sleep(0.2)
