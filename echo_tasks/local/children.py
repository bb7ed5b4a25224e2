"""Programs that run under the farm's supervisor, and outlive it: another one may take them over."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

import psutil

_PR_SET_PDEATHSIG = 1

UNKNOWN = 256
"""Return code of a program that another supervisor has started: the system tells it to that one alone."""


class Child(Protocol):
    """A program that was started: of `subprocess.Popen` what is needed here."""

    pid: int

    def poll(self) -> int | None:
        """Its return code once it has ended; until then None."""

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""


class Adopted:
    """A program that was started by a supervisor before this one."""

    def __init__(self, pid: int, created: float) -> None:
        """`created` is when it was started, as psutil tells: another program may have its pid by now."""
        self.pid = pid
        self._process: psutil.Process | None = None
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            self._process = process if abs(process.create_time() - created) < 1 else None

    def poll(self) -> int | None:
        """UNKNOWN once it has ended; until then None."""
        with suppress(psutil.Error):
            if self._process and self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
                return None
        return UNKNOWN

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def start(command: Sequence[str], output: int, doors: Sequence[int] = ()) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, which writes to `output`. Raises OSError."""
    return subprocess.Popen(  # noqa: S603 - the farm's own programs
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, pass_fds=doors
    )


def start_for_as_long_as_we_live(command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
    """The same for one that on Linux gets SIGTERM when this process is killed. Raises OSError."""
    libc, parent = ctypes.CDLL(None), os.getpid()

    def as_our_child() -> None:
        if sys.platform == "linux":
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # killed before the child could ask to be told
                os.kill(os.getpid(), signal.SIGTERM)

    return subprocess.Popen(  # noqa: S603 - a program of the farm's
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=as_our_child,
    )


def created(pid: int) -> float:
    """When a process was started; 0 for one that is gone."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def end_descendants(child: Child) -> None:
    """Tell what a child that has ended left behind in its session to end: it may hold the port of its successor."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGTERM)


def exit_status(returncode: int) -> int:
    """A return code as a shell tells it: 128 and its number for a signal; 1 where it is not known."""
    if returncode == UNKNOWN:
        return 1
    return returncode if returncode >= 0 else 128 - returncode


def in_words(returncode: int) -> str:
    """How a process ended. Of a program that passes on how its own child ended, the child's end."""
    if returncode == UNKNOWN:
        return "nobody knows how"
    number = -returncode if returncode < 0 else returncode - 128
    if number > 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(number).name}"
    return f"exit status {returncode}"
