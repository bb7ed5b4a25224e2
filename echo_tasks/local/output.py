"""A program's output on its way to the log."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field

_LINES_KEPT = 12
_LONGEST_LINE_BYTES = 65536


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
