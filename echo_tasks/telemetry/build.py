"""What a process runs: of every process that has metrics."""

from __future__ import annotations

from prometheus_client import Gauge

BUILD_INFO = Gauge(
    "echo_build_info",
    "1, of the release that the process runs.",
    ["version"],
)
