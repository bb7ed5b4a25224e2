"""A worker itself: what it serves, and whether it takes messages."""

from __future__ import annotations

from prometheus_client import Gauge

WORKER_STALLED_SECONDS = Gauge(
    "echo_worker_stalled_seconds",
    "Time since the worker last took a message, while its queues had some and it had room.",
)
MODEL_INFO = Gauge(
    "echo_model_info",
    "1, of the model that the worker serves: its name, its id, its weights' format, what it runs on, and our version.",
    ["model_name", "model_id", "dtype", "device", "version"],
)
