"""Steps of jobs: of a worker that runs them."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

STEP_SECONDS = Histogram(
    "echo_step_duration_seconds",
    "Time from a step's claim to its record, by outcome: succeeded, failed (its answer is an error, or its job's time "
    "was over), cancelled (its job ended meanwhile, or another worker has it), postponed (it is to be tried again), "
    "returned (this worker stopped, or the broker was away).",
    ["step", "outcome"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
STEP_QUEUE_SECONDS = Histogram(
    "echo_step_queue_wait_seconds",
    "Time from the latest publishing of a step's message until a worker claimed the step.",
    ["step"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800),
)
STEPS_REFUSED = Counter(
    "echo_steps_refused_total", "Steps that this worker left to newer ones, since it cannot read their jobs' records."
)
LEASES_LOST = Counter(
    "echo_leases_lost_total", "Leases that this worker held and lost, to another or by the job's end."
)
