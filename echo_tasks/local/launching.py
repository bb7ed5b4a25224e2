"""Starting programs so that they outlive their supervisor: their output and what it is of is kept by its guard."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from echo_tasks.local import children
from echo_tasks.local.children import Adopted, Child
from echo_tasks.local.guarded import Guarded
from echo_tasks.local.output import Output


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
