"""A terminal that a program runs in, as a person has it: its size, its keys, and what it shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from processes import ROOT

_CONTROLS = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[()][0-9A-B]|[=>])")

SHOWN = "\x1b[?1049h"
HIDDEN = "\x1b[?1049l"
"""How a program takes the whole screen, and gives it back."""


class Screen:
    """The terminal's near end: what the program in it writes, and keys for it."""

    def __init__(self, master: int, slave: int, process: subprocess.Popen[bytes]) -> None:
        self._master, self._slave = master, slave
        self.process = process
        self.raw = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def text(self) -> str:
        """What is shown by now: all since the screen was last drawn from its top."""
        return _CONTROLS.sub("", self.raw.rsplit("\x1b[H", 1)[-1])

    def modes(self) -> int:
        """The terminal's local modes: whether it echoes, and waits for whole lines."""
        return int(termios.tcgetattr(self._slave)[3])

    def _read(self) -> None:
        with suppress(OSError):  # of a terminal that is closed
            while said := os.read(self._master, 65536):
                self.raw += said.decode(errors="replace")


@contextmanager
def screen(
    command: list[str], env: Mapping[str, str], columns: int = 80, rows: int = 24, cwd: Path = ROOT
) -> Iterator[Screen]:
    """The command in a terminal of its own, until the block ends."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={"TERM": "xterm-256color", **env},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C is a signal
    )
    try:
        yield Screen(master, slave, process)
    finally:
        process.kill()
        process.wait()
        os.close(slave)
        os.close(master)
