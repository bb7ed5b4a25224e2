"""The farm as a whole: what the broker knows of queues, servers, workers and jobs. Only an exporter has them."""

from __future__ import annotations

OLDEST_AGE = (
    "echo_queue_oldest_message_age_seconds",
    "Time since the oldest message of a step was published that no worker has begun; 0 where there is none.",
)
IN_FLIGHT = ("echo_queue_in_flight", "Messages of the queue that workers have taken and not acknowledged.")
"""Gauges by `queue_name`."""

DEAD_LETTERS = ("echo_dead_letters", "Jobs on the dead-letter list.")
JOBS_OPEN = ("echo_jobs_open", "Jobs that were accepted and have not ended.")
MEMBRANE_JOBS_OPEN = ("echo_membrane_jobs_open", "Open jobs that wait for a membrane's output, by `step`.")

JOBS_ACCEPTED = ("echo_jobs_accepted", "Jobs ever accepted, by the ledger.")
JOBS_ABANDONED = ("echo_jobs_abandoned", "Of those, the ones that could not be published: their clients were told.")
JOBS_ENDED = ("echo_jobs_ended", "Jobs ever ended, by the ledger and by status.")
STEPS_ENDED = (
    "echo_steps_ended",
    "Steps ever ended, by the ledger: recorded, or let go and not recorded when their jobs were cancelled or failed.",
)
STEPS_RETRIED = ("echo_steps_retried", "Tries of steps that failed in passing, by the ledger.")
STEPS_REDELIVERED = (
    "echo_steps_redelivered",
    "Claims of steps beyond the first that follow upon no retry, by the ledger: their workers died, or gave them back.",
)
DEAD_LETTERS_EVER = ("echo_dead_letters", "Jobs ever put on the dead-letter list.")
"""Counters: the ledger's own counts (`counts.py`), which outlive every process."""

SERVER_UP = ("echo_server_up", "Whether the server answers.")
SERVER_MEMORY = ("echo_server_memory_bytes", "Memory that the server uses.")
SERVER_MEMORY_LIMIT = ("echo_server_memory_limit_bytes", "Memory that it may use; 0 for as much as there is.")
SERVER_CLIENTS = ("echo_server_clients", "Connections that it has.")
SERVER_CLIENTS_LIMIT = ("echo_server_clients_limit", "Connections that it may have.")
SERVER_EVICTED = ("echo_server_evicted_keys", "Keys that it has let go of for want of memory.")
"""Gauges by `server`, `broker` or `store`; the last one is a counter."""

INSTANCES = ("load_balancer_total_instances", "Workers that live, under the original document's name.")
HEALTHY = ("load_balancer_healthy_instances", "Of those, the ones that serve: neither draining nor stalled.")
WORKER_SLOTS = ("echo_worker_slots", "Steps that the worker can hold at a time.")
WORKER_BUSY = ("echo_worker_busy_slots", "Steps that it runs.")
WORKER_DRAINING = ("echo_worker_draining", "1 while it takes no new work and finishes what it holds.")
"""Gauges; the last three by `node`."""
