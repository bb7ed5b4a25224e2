"""Jobs: of whoever hands them to workers and ends them."""

from __future__ import annotations

from prometheus_client import REGISTRY, Counter, Histogram

from echo_tasks.telemetry.documented import SameAs

JOBS_DISTRIBUTED = Counter(
    "echo_jobs_distributed_total",
    "Jobs that this process has handed to workers: the API those that may go at once, a worker those that waited for "
    "the end of another. What was answered from the cache is none.",
)
REGISTRY.register(SameAs("deep_echo_distributed_requests", JOBS_DISTRIBUTED))

JOB_SECONDS = Histogram(
    "echo_job_duration_seconds",
    "Time from a job's acceptance to its end, by status: succeeded, failed, cancelled. Observed once, by whoever ended "
    "it: the worker that integrated it, the API that cancelled it or had its answer cached, or the worker that reaps.",
    ["status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800),
)
