"""Reaching the supervisor of a farm, which is started if there is none."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from echo_tasks.local import wire

MARK = "ECHO_FARM"
"""Environment variable that every process of a farm carries; its value is the farm's folder."""

START_S = 30.0
"""How long a supervisor may take until it listens."""


class NoSupervisor(Exception):
    """None listens, and none could be started; its message says why, `exit_status` is its own."""

    def __init__(self, why: str, exit_status: int = 1) -> None:
        super().__init__(why)
        self.exit_status = exit_status


def supervisor(var: Path) -> socket.socket:
    """A connection to the supervisor of the farm in this folder. Blocks until there is one; raises NoSupervisor."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        connection = wire.connect(var) or _started(var)
        if connection is not None:
            return connection
        time.sleep(0.1)
    raise NoSupervisor(f"no supervisor of the farm in {var.resolve()} listens")


def _started(var: Path) -> socket.socket | None:
    """A connection to a supervisor that is started now; None where somebody else is about to start one."""
    path = wire.place(var)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise NoSupervisor(f"echo: ECHO_VAR={var}: {error.strerror}", 78) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:  # a supervisor or its guard has it: whichever was killed is about to come back
        return None
    else:
        return wire.connect(var) or _start(var, lock)
    finally:
        os.close(lock)


def _start(var: Path, lock: int) -> socket.socket | None:
    process = subprocess.Popen(  # noqa: S603 - our own
        [sys.executable, "-m", "echo_tasks.local.supervisor", "lock", str(lock)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,  # until it listens: then it has a log
        env=os.environ | {MARK: str(var.resolve())},
        pass_fds=(lock,),
        start_new_session=True,
    )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if connection := wire.connect(var):
            if process.stderr:
                process.stderr.close()
            return connection
        if process.poll() is not None:
            _, told = process.communicate()
            raise NoSupervisor(told.decode(errors="replace").rstrip(), process.returncode)
        time.sleep(0.05)
    process.kill()
    return None
