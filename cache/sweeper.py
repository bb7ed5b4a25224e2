"""Making room of what has expired, now and then, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Sweeper:
    """Calls all that it was given every so many seconds, until it is stopped."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._sweeps: list[Callable[[], int]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cache-sweeper", daemon=True)

    def add(self, sweep: Callable[[], int]) -> None:
        """Have it called, too."""
        self._sweeps.append(sweep)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Blocks while it sweeps."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            for sweep in self._sweeps:
                try:
                    sweep()
                except Exception:  # the outermost loop of the thread
                    log.exception("expired values not swept")
