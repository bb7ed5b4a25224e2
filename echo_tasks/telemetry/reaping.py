"""Reaping: of a worker; one of them reaps."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

STEPS_REQUEUED = Counter(
    "echo_steps_requeued_total",
    "Steps that the reaper had published again, by cause: lease (it died), message (it was lost), due (it is retried), "
    "direct (the worker that it waited for was gone or full).",
    ["cause"],
)
JOBS_GIVEN_UP = Counter("echo_jobs_given_up_total", "Jobs that the reaper put on the dead-letter list.")
REAPER_ACTIVE = Gauge("echo_reaper_active", "1 while this worker reaps, 0 while it stands by.")
REAPER_ROUNDS = Counter("echo_reaper_rounds_total", "Rounds in which this worker has reaped.")
