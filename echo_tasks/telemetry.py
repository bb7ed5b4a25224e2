"""Every metric of the farm, by its Prometheus name. Label values are bounded: routes, not paths."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

HTTP_REQUESTS = Counter(
    "echo_http_requests_total",
    "Requests answered, by route, method and status.",
    ["route", "method", "status"],
)
HTTP_SECONDS = Histogram(
    "echo_http_request_duration_seconds",
    "Time from a request's arrival to its answer's first byte.",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
