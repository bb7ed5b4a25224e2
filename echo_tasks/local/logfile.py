"""The farm's log: one file of all its programs' lines, which is written, kept small, and shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from echo_tasks.settings import Settings

_BYTES_SHOWN = 1_000_000
_BYTES_KEPT = 64_000_000
_NAME_COLUMNS = 12


def path(settings: Settings) -> Path:
    return settings.echo_var / "log" / "farm.log"


class Log:
    """The file that lines are appended to; one that has grown large is put aside, over the one before.

    Where the disk is full lines are lost; the first one that is not tells how many.
    """

    def __init__(self, file: Path) -> None:
        self._path = file
        self._lost = 0

    def write(self, program: str, line: bytes) -> None:
        """Append a line of a program, with the time."""
        head = f"{time.strftime('%H:%M:%S')} {program + '.1':<{_NAME_COLUMNS}} | ".encode()
        lost = head + b"%d lines before this one could not be written\n" % self._lost if self._lost else b""
        try:
            self._append(lost + head + line.rstrip() + b"\n")
        except OSError:
            self._lost += 1
        else:
            self._lost = 0

    def _append(self, data: bytes) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            file.write(data)
            size = file.tell()
        if size > _BYTES_KEPT:
            self._path.replace(self._path.with_suffix(".log.1"))


def show(log: Path, process: str, *, lines: int | None = None, since: int | None = None) -> int:
    """Print the log from the byte `since`, or the last `lines` of its end; returns where it ended."""
    size = log.stat().st_size
    if since is None or since > size:  # another file by now
        since = max(0, size - _BYTES_SHOWN)
    with log.open("rb") as file:
        file.seek(since)
        text = file.read()
    chosen = list(_of_process(text.decode(errors="replace").splitlines(), process))
    for line in chosen if lines is None else chosen[-lines:]:
        print(line)
    return since + len(text)


def _of_process(lines: list[str], process: str) -> Iterator[str]:
    """As honcho writes them: `HH:MM:SS name.1   | line`."""
    for line in lines:
        name = line.split("|", 1)[0].split()
        if not process or (len(name) > 1 and name[1].split(".")[0] == process):
            yield line
