"""Keeps one process of the Procfile alive: `python -m echo_tasks.local.keep NAME COMMAND…`.

honcho ends all processes when one of them ends. Under a keeper a process that died is started again, after a pause;
the keeper itself ends, and with it the farm, when it is told to, when the process says that it is misconfigured
(EX_CONFIG), or when it dies again and again without ever having been healthy.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from echo_tasks.errors import EX_CONFIG
from echo_tasks.local import children, restarts
from echo_tasks.local.backoff import HEALTHY_AFTER_S, Backoff
from echo_tasks.local.output import Output
from echo_tasks.local.restarts import Restarts
from echo_tasks.settings import Settings, current

_STOPPING = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}
_WAITED_FOR = _STOPPING | {signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM}

_EX_NOT_FOUND = 127
"""What a shell says of a program that is not there."""


@dataclass(frozen=True, slots=True)
class _End:
    """How a process ended: whether it was told to, and what it said last."""

    returncode: int
    was_told: bool
    last_lines: Sequence[str]

    @property
    def exit_status(self) -> int:
        return children.exit_status(self.returncode)


class Keeper:
    """Starts the command, passes signals on to it, and starts it again whenever it dies."""

    def __init__(self, name: str, command: Sequence[str], settings: Settings) -> None:
        self._name = name
        self._command = command
        self._settings = settings
        self._past = Backoff()
        self._restarts = Restarts(os.environ.get("HONCHO_PROCESS_NAME", name), os.getpid())

    def run(self) -> int:
        """Keep the process alive until there is a reason to end; the exit status. Blocks signals for good."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED_FOR)
        self._write_down()
        while True:
            began = time.monotonic()
            try:
                end = self._run_once()
            except OSError as error:
                self._say(f"cannot be started: {self._command[0]}: {error.strerror}")
                return _EX_NOT_FOUND
            if end.was_told or end.returncode == EX_CONFIG:
                return end.exit_status
            self._past = self._past.after(time.monotonic() - began)
            if self._past.is_hopeless:
                self._give_up(end)
                return end.exit_status
            self._announce_restart(end)
            if number := _signal_to_stop_within(self._past.pause_s):
                return 128 + number

    def _run_once(self) -> _End:
        """Run the process to its end. Raises OSError."""
        child = children.start(self._command, _WAITED_FOR, stdout=subprocess.PIPE)
        output = Output(child.stdout, sys.stdout.buffer)  # type: ignore[arg-type]
        was_told = _pass_signals_until_it_ends(child)
        children.end_descendants(child)
        return _End(child.returncode, was_told, output.last_lines())

    def _give_up(self, end: _End) -> None:
        verdict = self._say(
            f"has ended {self._past.early_deaths} times without ever running for {HEALTHY_AFTER_S:g} s, "
            f"at last with {children.in_words(end.returncode)}: the farm stops. Its last lines:",
            *(f"    {line}" for line in end.last_lines),
        )
        self._restarts = replace(self._restarts, verdict=verdict)
        self._write_down()

    def _announce_restart(self, end: _End) -> None:
        reason = children.in_words(end.returncode)
        self._say(f"has ended ({reason}); it is started again in {self._past.pause_s:g} s")
        self._restarts = self._restarts.and_one(reason)
        self._write_down()

    def _write_down(self) -> None:
        try:
            restarts.write(self._restarts, self._settings)
        except OSError as error:  # a full disk is no reason to let the process down
            self._say(f"is kept alive, but its restarts cannot be written down: {error}")

    def _say(self, first: str, *others: str) -> str:
        """Print what there is to say of the process; returns it."""
        told = "\n".join([f"keep: {self._name} {first}", *others])
        with suppress(OSError):  # nobody reads it any more
            print(told, flush=True)
        return told


def _pass_signals_until_it_ends(child: subprocess.Popen[bytes]) -> bool:
    """Wait for the child, and pass on to it what we are sent; whether that was to stop it."""
    was_told = False
    while child.poll() is None:
        number = signal.sigwait(_WAITED_FOR)
        if number not in {signal.SIGCHLD, signal.SIGALRM}:
            was_told = was_told or number in _STOPPING
            child.send_signal(number)
    return was_told


def _signal_to_stop_within(pause_s: float) -> int:
    """Pause; the signal that was to stop us meanwhile, or 0."""
    signal.setitimer(signal.ITIMER_REAL, pause_s)
    number = signal.sigwait(_STOPPING | {signal.SIGALRM})
    return 0 if number == signal.SIGALRM else int(number)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit("usage: python -m echo_tasks.local.keep NAME COMMAND…")
    raise SystemExit(Keeper(sys.argv[1], sys.argv[2:], current()).run())
