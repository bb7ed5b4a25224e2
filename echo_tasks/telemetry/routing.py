"""Sending steps to workers: of the API, and of workers."""

from __future__ import annotations

from prometheus_client import Counter

STEPS_ROUTED = Counter(
    "echo_steps_routed_total",
    "Steps published, by queue: direct (one worker's) or shared, where LB_STRATEGY chooses.",
    ["queue"],
)
