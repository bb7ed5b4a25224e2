"""Starting programs so that they outlive their supervisor: their output and what it is of is kept by its guard."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from echo_tasks.local import children, guard
from echo_tasks.local.children import Adopted, Child

GUARD_S = 5.0
"""How long a guard may take to answer before it is taken for dead."""

_LINES_KEPT = 12
_LONGEST_LINE_BYTES = 65536


class Guarded:
    """What outlives this supervisor, in the hands of its guard: of whichever one lives."""

    def __init__(self, link: socket.socket | None = None, kept: guard.Kept | None = None) -> None:
        """A guard that has started this supervisor has handed over what is `kept`."""
        self.kept: guard.Kept = kept or {}
        self.is_dead = False
        """Whether the guard is, and another one has to be told all."""
        self._pid = os.getppid()  # of the guard, if that has started this supervisor
        self._link = link or self._engage()

    def fileno(self) -> int:
        """Readable when the guard is dead."""
        return self._link.fileno()

    def keep(self, name: str, word: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Have something outlive this supervisor; what was kept under its name is forgotten."""
        self.kept[name] = json.dumps(word), list(descriptors)
        self._tell({"name": name, "word": self.kept[name][0]}, descriptors)

    def forget(self, name: str) -> None:
        """Have it end with this supervisor; the descriptors here are the caller's to close."""
        if self.kept.pop(name, None) is not None:
            self._tell({"name": name})

    def word(self, name: str) -> dict[str, Any]:
        """What was told of something; nothing of what is not kept."""
        return json.loads(self.kept[name][0]) if name in self.kept else {}

    def end(self) -> None:
        """Have no successor."""
        with suppress(OSError):
            self._link.send(b'{"end": true}')
        self._link.close()

    def revive(self) -> None:
        """Have another guard, which is told all, in the place of one that is dead, or does not answer."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)  # one that was only stopped would start another supervisor
        self._link.close()
        try:
            self._link, self.is_dead = self._engage(), False
        except OSError:
            self.is_dead = True

    def _tell(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        try:
            guard.send(self._link, message, list(descriptors))
        except OSError:
            self.is_dead = True

    def _engage(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            engaged = subprocess.Popen(  # noqa: S603 - our own
                [sys.executable, "-m", "echo_tasks.local.guard", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self._pid = engaged.pid
        ours.settimeout(GUARD_S)
        for name, (word, descriptors) in self.kept.items():
            guard.send(ours, {"name": name, "word": word}, descriptors)
        return ours


@dataclass(slots=True)
class Output:
    """The output of a program on its way to the log, cut into lines, of which the last are remembered."""

    descriptor: int
    last: deque[bytes] = field(default_factory=lambda: deque(maxlen=_LINES_KEPT))
    _rest: bytes = b""

    def read(self) -> list[bytes]:
        """The lines that have come; what is longer than any should be is cut. Does not block."""
        try:
            data = os.read(self.descriptor, _LONGEST_LINE_BYTES)
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) >= _LONGEST_LINE_BYTES or (not data and self._rest):
            lines, self._rest = [*lines, self._rest], b""
        self.last.extend(lines)
        return lines

    def last_lines(self) -> list[str]:
        return [line.decode(errors="replace").rstrip() for line in self.last]


@dataclass(slots=True)
class Running:
    """A program that was started: when, by the wall clock, and with what pid that is its own since `created`."""

    pid: int
    created: float
    began: float


class Launcher:
    """Starts the programs of one farm; `sink` takes their lines, each with the name of the one that it is of."""

    def __init__(self, guarded: Guarded, sink: Callable[[str, bytes], None]) -> None:
        self.guarded = guarded
        self.outputs: dict[str, Output] = {}
        self._sink = sink

    def start(self, name: str, command: Sequence[str], doors: Sequence[int] = ()) -> Child:
        """Start a program. Raises OSError."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            child = children.start(command, writing, doors)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.outputs[name] = Output(reading)
        running = Running(child.pid, children.created(child.pid), time.time())
        self.guarded.keep(_key(name), asdict(running), [reading])
        return child

    def has(self, name: str) -> bool:
        """Whether a supervisor before this one has started a program of this name, which may run still."""
        return _key(name) in self.guarded.kept

    def adopt(self, name: str) -> tuple[Child, float] | None:
        """A program of this name that a supervisor before this one has started, and for how long it runs."""
        word, descriptors = self.guarded.kept.get(_key(name), ("", []))
        if not descriptors:
            return None
        running = Running(**json.loads(word))
        self.outputs[name] = Output(descriptors[0])
        return Adopted(running.pid, running.created), time.time() - running.began

    def rename(self, name: str, to: str) -> None:
        """Know a running program by another name: its place is another one's."""
        word, descriptors = self.guarded.kept[_key(name)]
        self.outputs[to] = self.outputs.pop(name)
        self.guarded.keep(_key(to), json.loads(word), descriptors)
        self.guarded.forget(_key(name))

    def running(self) -> dict[str, Running]:
        """The programs that run, by name."""
        return {name: Running(**self.guarded.word(_key(name))) for name in self.outputs}

    def pass_on(self, name: str) -> None:
        """Pass on what a program has written."""
        if output := self.outputs.get(name):
            for line in output.read():
                self._sink(name, line)

    def ended(self, name: str) -> list[str]:
        """Let go of a program that has ended; its last lines."""
        output = self.outputs.pop(name, None)
        if output is None:
            return []
        while lines := output.read():
            for line in lines:
                self._sink(name, line)
        self.guarded.forget(_key(name))
        os.close(output.descriptor)
        return output.last_lines()

    def say(self, name: str, line: str) -> None:
        """Say something of a program where its own lines are."""
        self._sink(name, line.encode())


def _key(name: str) -> str:
    return f"program {name}"
