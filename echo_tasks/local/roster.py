"""Who a crew of this machine is to have: a small file that its crew and others change."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from echo_tasks import machine
from echo_tasks.settings import Settings

WORKERS = "worker"
"""The crew of the farm's workers."""

_PREDECESSOR_S = 2.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many members there are to be, besides those that are `leaving`: nodes that are drained, and still there.

    `most` is how many the machine's memory has turned out to carry; 0: that is not known.
    """

    count: int
    leaving: tuple[str, ...] = ()
    most: int = 0


class Roster:
    """What is wanted of one crew, always within the bounds. Every method may raise OSError."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._name = name
        self._most = settings.max_instances
        self.least = min(settings.min_instances, max(1, machine.cores() // (settings.echo_threads or 1)))
        self._host = socket.gethostname()  # as Celery's %h
        self._folder = settings.echo_var / "run"
        self._file = self._folder / f"{name}.wanted"

    def node(self, number: int) -> str:
        """The node's name of a member."""
        return f"{self._name}{number}@{self._host}"

    def has(self, node: str) -> bool:
        """Whether a node of that name is a member, on this machine."""
        name, _, host = node.partition("@")
        return host == self._host and re.fullmatch(rf"{re.escape(self._name)}[0-9]+", name) is not None

    def wanted(self) -> Wanted | None:
        """What is wanted; None when nobody has said so in a form that can be read."""
        try:
            found = json.loads(self._file.read_text())
            return Wanted(int(found["count"]), tuple(map(str, found["leaving"])), int(found.get("most", 0)))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def begin(self) -> int:
        """Have the least that may be, and nobody leaving; how many that is."""
        with self._alone():
            self._write(Wanted(self.least))
        return self.least

    def fill(self, count: int) -> None:
        """Have no more than so many, one at least, from now on: there is no memory for more."""
        with self._alone():
            known = self.wanted() or Wanted(self.least)
            most = max(1, count)
            self._write(replace(known, count=min(known.count, most), most=most))

    def change(self, by: int) -> None:
        """Have so many more, or fewer."""
        with self._alone():
            known = self.wanted() or Wanted(self.least)
            self._write(replace(known, count=known.count + by))

    def release(self, node: str) -> None:
        """A member is drained: it is no longer one of those that are wanted."""
        with self._alone():
            known = self.wanted() or Wanted(self.least)
            if node not in known.leaving:
                self._write(replace(known, count=known.count - 1, leaving=(*known.leaving, node)))

    def strike_off(self, node: str) -> None:
        """A member has left. If nobody had released it, it was its own decision, and one fewer is wanted."""
        with self._alone():
            known = self.wanted() or Wanted(self.least)
            is_known = node in known.leaving
            left = tuple(other for other in known.leaving if other != node)
            self._write(replace(known, count=known.count - (0 if is_known else 1), leaving=left))

    @contextmanager
    def manned(self) -> Iterator[bool]:
        """Be this roster's crew until the block ends, or this process; false when another process is.

        Blocks for a moment before it is false: a predecessor may be about to end, or somebody only looks.
        """
        with self._lock_file("crew") as lock:
            deadline = time.monotonic() + _PREDECESSOR_S
            while not (is_ours := _lock(lock)) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield is_ours

    def is_manned(self) -> bool:
        """Whether there is a process that sees to it."""
        with self._lock_file("crew") as lock:
            return not _lock(lock)

    def _write(self, wanted: Wanted) -> None:
        most = min(self._most, wanted.most or self._most)
        bounded = replace(wanted, count=min(max(wanted.count, self.least), most))
        new = self._file.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(asdict(bounded)))
        new.replace(self._file)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock_file("lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _lock_file(self, kind: str) -> Iterator[int]:
        """A file that is locked by whoever has it open: the system lets it go when they die."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path: Path = self._folder / f"{self._name}.{kind}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _lock(file: int) -> bool:
    """Lock a file that nobody has locked; false when somebody has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
