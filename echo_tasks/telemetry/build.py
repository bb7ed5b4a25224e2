"""What a process runs: of every process that has metrics."""

from __future__ import annotations

from prometheus_client import Gauge

BUILD_INFO = Gauge(
    "echo_build_info",
    "1, of the process's release, of the schema of the broker's keys that it knows, and of the records that it reads.",
    ["version", "schema", "reads"],
)
