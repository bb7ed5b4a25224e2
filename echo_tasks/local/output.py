"""A child's output on its way to ours."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from functools import partial
from typing import IO

_LINES_KEPT = 12
_LONGEST_LINE_BYTES = 65536
_DRAIN_S = 1.0


class Output:
    """Passes all that `source` says on to `sink`, from a thread of its own, and remembers the last lines.

    With a prefix each line begins with it, and ends: several may have the same sink.
    """

    def __init__(self, source: IO[bytes], sink: IO[bytes], prefix: bytes = b"") -> None:
        self._source, self._sink, self._prefix = source, sink, prefix
        self._last: deque[bytes] = deque(maxlen=_LINES_KEPT)
        self._thread = threading.Thread(target=self._pass_on, name="output", daemon=True)
        self._thread.start()

    def last_lines(self) -> list[str]:
        """The last lines of a child that has ended. Blocks until they are all in, or for a second."""
        self._thread.join(_DRAIN_S)
        return [line.decode(errors="replace").rstrip() for line in self._last]

    def _pass_on(self) -> None:
        for line in iter(partial(self._source.readline, _LONGEST_LINE_BYTES), b""):
            self._last.append(line)
            with suppress(OSError):  # nobody reads ours any more: the child must not be held up by that
                self._sink.write(self._whole(line))
                self._sink.flush()
        self._source.close()

    def _whole(self, line: bytes) -> bytes:
        if not self._prefix:
            return line
        return self._prefix + line + (b"" if line.endswith(b"\n") else b"\n")
