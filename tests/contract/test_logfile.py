"""The farm's log on one machine: bounded, and true about what it lacks."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from echo_tasks.local import logfile
from echo_tasks.local.logfile import Log, show


def test_lines_have_the_time_and_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As honcho writes them, and shown by program."""
    log = Log(tmp_path / "log" / "farm.log")
    for program in ("api", "worker", "api"):
        log.write(program, b"a line of " + program.encode() + b"\n")
    lines = (tmp_path / "log" / "farm.log").read_text().splitlines()
    assert [line[9:] for line in lines] == [
        "api.1        | a line of api",
        "worker.1     | a line of worker",
        "api.1        | a line of api",
    ]
    show(tmp_path / "log" / "farm.log", "worker")
    assert capsys.readouterr().out.splitlines() == [lines[1]]


def test_a_file_that_has_grown_large_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the one before; whoever follows the log goes on with the new one."""
    monkeypatch.setattr(logfile, "_BYTES_KEPT", 100)
    log, path = Log(tmp_path / "farm.log"), tmp_path / "farm.log"
    for number in range(9):
        log.write("api", b"%d" % number * 20)
    assert path.with_suffix(".log.1").stat().st_size < 200
    log.write("api", b"the last")
    assert "the last" in path.read_text()
    assert show(path, "", since=10_000) == path.stat().st_size


def test_what_a_full_disk_could_not_take_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are lost and nothing else; the first one that is written again tells how many."""
    log, path = Log(tmp_path / "farm.log"), tmp_path / "farm.log"
    log.write("api", b"before")
    taken = Log._append

    def full(self: Log, data: bytes) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Log, "_append", full)
    for _ in range(3):
        log.write("api", b"lost")
    monkeypatch.setattr(Log, "_append", taken)
    log.write("worker", b"after")
    log.write("worker", b"and so on")
    told = [line.partition("| ")[2] for line in path.read_text().splitlines()]
    assert told == ["before", "3 lines before this one could not be written", "after", "and so on"]
