"""Programs that run under one of ours: they get the signals that it passes on, and end when it is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Sequence, Set
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def start(
    command: Sequence[str],
    blocked: Set[signal.Signals],
    *,
    stdout: int | None = None,
    told: bytes | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own: a signal for our process group reaches it from us alone.

    It takes the signals again that we have blocked to wait for them. On Linux it gets SIGTERM when we are killed.
    `told` is all that it reads. Raises OSError.
    """
    libc, parent = ctypes.CDLL(None), os.getpid()

    def as_our_child() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        if sys.platform == "linux":
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # killed before the child could ask to be told
                os.kill(os.getpid(), signal.SIGTERM)

    child = subprocess.Popen(  # noqa: S603 - the farm's own programs
        command,
        stdin=None if told is None else subprocess.PIPE,
        stdout=stdout,
        stderr=None if stdout is None else subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=as_our_child,
        pass_fds=pass_fds,
    )
    if child.stdin:
        with child.stdin as pipe:
            pipe.write(told or b"")
    return child


def end_descendants(child: subprocess.Popen[bytes]) -> None:
    """Tell what a child that has ended left behind in its session to end: it may hold the port of its successor."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGTERM)


def exit_status(returncode: int) -> int:
    """A return code as a shell tells it: 128 and its number for a signal."""
    return returncode if returncode >= 0 else 128 - returncode


def in_words(returncode: int) -> str:
    """How a process ended. Of a program that passes on how its own child ended, the child's end."""
    number = -returncode if returncode < 0 else returncode - 128
    if number > 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(number).name}"
    return f"exit status {returncode}"
