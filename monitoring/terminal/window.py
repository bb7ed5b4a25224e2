"""The latest readings, taken by a thread of their own: whoever draws them never waits for who does not answer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from echo_tasks.periodic import Periodic
from monitoring.terminal.reading import Reading

EVERY_S = 1.0

WINDOW = 11
"""So many readings are kept: what is shown as of late is of the last ten seconds."""


class Window:
    """Readings, taken every EVERY_S from `start` to `stop`."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read
        self._lock = threading.Lock()
        self._readings: deque[Reading] = deque(maxlen=WINDOW)
        self._periodic = Periodic("readings", self._take, EVERY_S)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        """Blocks for a moment only: a reading under way is not waited for."""
        self._periodic.stop()

    def ends(self) -> tuple[Reading, Reading] | None:
        """The oldest reading that is kept, and the latest; None before the first."""
        with self._lock:
            return (self._readings[0], self._readings[-1]) if self._readings else None

    def _take(self) -> None:
        reading = self._read()
        with self._lock:
            self._readings.append(reading)
