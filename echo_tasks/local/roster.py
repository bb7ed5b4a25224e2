"""How many processes a crew of this machine is to have: a small file that its crew and others change."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from echo_tasks.settings import Settings

WORKERS = "worker"
"""The crew of the farm's workers."""


_PREDECESSOR_S = 2.0


class Roster:
    """The number that one crew is to have, and the nodes' names of its members. Every method may raise OSError."""

    def __init__(self, name: str, settings: Settings) -> None:
        self._name = name
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

    def wanted(self) -> int | None:
        """How many there are to be; None when nobody has said so, or not in a number."""
        try:
            return int(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def want(self, count: int) -> None:
        """Have so many."""
        with self._alone():
            self._write(count)

    def change(self, by: int, *, least: int = 0) -> int:
        """Have so many more, or fewer, than were wanted, but not below the least; how many that makes."""
        with self._alone():
            count = max(least, (self.wanted() or 0) + by)
            self._write(count)
            return count

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

    def _write(self, count: int) -> None:
        new = self._file.with_suffix(f".{os.getpid()}")
        new.write_text(f"{count}\n")
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
