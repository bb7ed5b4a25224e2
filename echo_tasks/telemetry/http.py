"""Requests over HTTP: of the API."""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from echo_tasks.telemetry.documented import SameAs

HTTP_REQUESTS = Counter(
    "echo_http_requests_total",
    "Requests answered, by route, method and status.",
    ["route", "method", "status"],
)
REGISTRY.register(SameAs("deep_echo_total_requests", HTTP_REQUESTS))

HTTP_SECONDS = Histogram(
    "echo_http_request_duration_seconds",
    "Time from a request's arrival to its answer's first byte.",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
EVENT_STREAMS = Gauge("echo_event_streams", "Clients that follow a job's events at the moment.")

RESPONSE_MS = "deep_echo_avg_response_time_ms"
"""Gauge, in milliseconds, as the document has it: the mean of the latest minutes."""
