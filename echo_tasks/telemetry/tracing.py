"""Traces: of the API and of workers."""

from __future__ import annotations

from prometheus_client import Counter

TRACE_SPANS_DROPPED = Counter(
    "echo_trace_spans_dropped_total",
    "Spans that were not sent: the endpoint of the traces was away, refused them, or was too slow.",
)
