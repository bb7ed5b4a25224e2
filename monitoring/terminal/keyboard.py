"""Single keys of a terminal, as they are pressed."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds for keys, and gives what was pressed; afterwards the terminal is as before.

    Where standard input is no terminal no key ever comes.
    """
    if not sys.stdin.isatty():
        yield _none_within
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        yield lambda seconds: _within(terminal, seconds)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _within(terminal: int, seconds: float) -> str:
    ready, _, _ = select.select([terminal], [], [], seconds)
    return os.read(terminal, 64).decode(errors="replace") if ready else ""


def _none_within(seconds: float) -> str:
    select.select([], [], [], seconds)
    return ""
