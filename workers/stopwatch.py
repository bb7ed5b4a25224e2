"""Where the time of a step goes."""

from __future__ import annotations

import time
from typing import Literal

Part = Literal["linear", "wkv", "sampling", "overhead"]


class Stopwatch:
    """Seconds by part of a step. On a GPU, which works behind the caller's back, only their sum means what it says."""

    def __init__(self) -> None:
        self.seconds: dict[Part, float] = {}
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self.seconds = {"linear": 0.0, "wkv": 0.0, "sampling": 0.0, "overhead": 0.0}
        self._since = time.perf_counter()

    def lap(self, part: Part) -> None:
        """What has passed since the last call was this part's."""
        now = time.perf_counter()
        self.seconds[part] += now - self._since
        self._since = now
