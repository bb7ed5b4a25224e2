"""The mean response time of late, as a metric under the original document's name."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from echo_tasks.telemetry.http import RESPONSE_MS

WINDOW_S = 300.0
BIN_S = 10.0


class ResponseTime(Collector):
    """The mean over the latest five minutes: that of a process's whole life hides whatever happens now.

    Threads may share it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._bins: deque[tuple[int, int, float]] = deque()  # number, requests, their seconds

    def add(self, seconds: float) -> None:
        """Note a request that took so long."""
        with self._lock:
            now = self._forget()
            _, requests, total = self._bins.pop() if self._bins and self._bins[-1][0] == now else (now, 0, 0.0)
            self._bins.append((now, requests + 1, total + seconds))

    def mean_s(self) -> float | None:
        """The mean; None without a request."""
        with self._lock:
            self._forget()
            requests = sum(count for _, count, _ in self._bins)
            return sum(total for _, _, total in self._bins) / requests if requests else None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauge; absent without a request."""
        mean_s = self.mean_s()
        yield GaugeMetricFamily(
            RESPONSE_MS,
            "Mean time in milliseconds from the arrival of a request below /api to its answer's first byte, over the "
            "latest five minutes; a request that waits for a job's end takes as long as that.",
            None if mean_s is None else 1000 * mean_s,
        )

    def _forget(self) -> int:
        """Drop what is older than the window; the number of the bin that it is now."""
        now = int(self._clock() // BIN_S)
        while self._bins and self._bins[0][0] <= now - WINDOW_S / BIN_S:
            self._bins.popleft()
        return now
