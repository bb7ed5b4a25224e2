"""The log of a farm that runs in the background: where it is, and what of it a person wants to see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echo_tasks.settings import Settings

_BYTES_SHOWN = 1_000_000
_BYTES_KEPT = 64_000_000


def path(settings: Settings) -> Path:
    return settings.echo_var / "log" / "farm.log"


def fresh(settings: Settings) -> Path:
    """The log to append to; one that has grown large is put aside first, over the one before."""
    log = path(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _BYTES_KEPT:
        log.replace(log.with_suffix(".log.1"))
    return log


def show(log: Path, process: str, *, lines: int | None = None, since: int | None = None) -> int:
    """Print the log from the byte `since`, or the last `lines` of its end; returns where it ended."""
    if since is None:
        since = max(0, log.stat().st_size - _BYTES_SHOWN)
    with log.open("rb") as file:
        file.seek(since)
        text = file.read()
    chosen = list(_of_process(text.decode(errors="replace").splitlines(), process))
    for line in chosen if lines is None else chosen[-lines:]:
        print(line)
    return since + len(text)


def _of_process(lines: list[str], process: str) -> Iterator[str]:
    """honcho writes `HH:MM:SS name.1   | line`."""
    for line in lines:
        name = line.split("|", 1)[0].split()
        if not process or (len(name) > 1 and name[1].split(".")[0] == process):
            yield line
