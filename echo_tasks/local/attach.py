"""Stands in for one program of the Procfile: `python -m echo_tasks.local.attach [--door|--crew] NAME COMMAND…`.

The program itself is a child of the supervisor, which is started if there is none. Here come its lines; from here go
honcho's signals to it. When this process is killed, or nobody reads its lines any more, the program runs on.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from echo_tasks.local import begin, wire

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_FLAGS = ("--door", "--crew")


class Standing:
    """One that stands in for a program, as long as that one runs."""

    def __init__(self, var: Path, name: str, told: wire.Message) -> None:
        self._var, self._name, self._told = var, name, told
        self._is_to_stop = False
        self._signals: list[int] = []
        self._waker, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
        for number in (*STOPPING, signal.SIGHUP):
            signal.signal(number, self._note)

    def until_it_ends(self) -> int:
        """Pass on what there is, until the program has ended for good; its exit status."""
        while True:
            try:
                connection = begin.supervisor(self._var)
            except begin.NoSupervisor as error:
                print(error, file=sys.stderr, flush=True)
                return error.exit_status
            with connection:
                if (status := self._stand(connection)) is not None:
                    return status
            time.sleep(0.2)  # the supervisor was killed: its guard starts another one

    def _stand(self, connection: socket.socket) -> int | None:
        """The exit status, or None where the connection is lost."""
        lines = wire.Lines()
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        poll.register(sys.stdout, 0)  # an error alone: nobody reads it any more
        try:
            wire.send(connection, self._told)
            while True:
                while self._signals:
                    wire.send(connection, {"signal": self._signals.pop(0), "to": self._name})
                ready = dict(poll.poll())
                if sys.stdout.fileno() in ready:
                    return 0
                if self._waker in ready:
                    os.read(self._waker, 4096)
                if connection.fileno() in ready:
                    if not (data := connection.recv(65536)):
                        return 0 if self._is_to_stop else None
                    for message in lines.fed(data):
                        if "ended" in message:
                            return int(message["ended"])
                        self._print(message.get("line", ""))
        except OSError:
            return 0 if self._is_to_stop else None

    def _print(self, line: str) -> None:
        try:
            print(line, flush=True)
        except BrokenPipeError:
            raise SystemExit(0) from None

    def _note(self, number: int, _: object) -> None:
        self._is_to_stop = self._is_to_stop or number in STOPPING
        self._signals.append(number)


def asked(words: Sequence[str]) -> tuple[str, wire.Message]:
    """The program that a command line names, and what is to be told of it."""
    flags = [word for word in words[:1] if word in _FLAGS]
    name, *command = words[len(flags) :]
    return name, {"command": command, **{flag.strip("-"): True for flag in flags}}


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit("usage: python -m echo_tasks.local.attach [--door|--crew] NAME COMMAND…")
    chosen, message = asked(sys.argv[1:])
    message |= {"run": chosen, "record": os.environ.get("HONCHO_PROCESS_NAME", chosen)}
    folder = Path(os.environ.get("ECHO_VAR", "").strip() or "var")
    raise SystemExit(Standing(folder, chosen, message).until_it_ends())
