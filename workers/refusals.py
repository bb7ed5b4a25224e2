"""Steps that a worker leaves to newer ones, since it cannot read their jobs' records."""

from __future__ import annotations

import threading

from echo_tasks import logs, versions
from echo_tasks.telemetry.steps import STEPS_REFUSED

log = logs.get(__name__)


class Refusals:
    """Counts them, and says so once. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.count = 0

    def note(self, version: int) -> None:
        """One more, of a record of that version."""
        with self._lock:
            self.count += 1
            is_first = self.count == 1
        STEPS_REFUSED.inc()
        if is_first:
            log.error("steps are left to newer workers", record_version=version, reads=versions.LATEST)
