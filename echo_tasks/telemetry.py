"""Every metric of the farm, by its Prometheus name. Label values are bounded: routes, not paths."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

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

ACTIVE_SESSIONS = ("deep_echo_active_sessions", "cognitive_service_active_sessions")
"""Gauges of the farm, not of a process: the original document has two names for the number of live sessions."""

ENGINE_REQUESTS = Counter(
    "echo_engine_requests_total",
    "Sequences that have left the engine, by outcome: stop, length, read, cancelled, deadline, failed.",
    ["outcome"],
)
ENGINE_PROMPT_TOKENS = Counter("echo_engine_prompt_tokens_total", "Tokens of the prompts that got a slot.")
ENGINE_PREFILL_TOKENS = Counter("echo_engine_prefill_tokens_total", "Tokens of prompts that were fed.")
ENGINE_OUTPUT_TOKENS = Counter("echo_engine_output_tokens_total", "Tokens generated.")
ENGINE_RUNNING = Gauge("echo_engine_running_sequences", "Sequences that hold a slot.")
ENGINE_WAITING = Gauge("echo_engine_waiting_sequences", "Sequences in line for a slot.")
ENGINE_QUEUE_SECONDS = Histogram(
    "echo_engine_queue_wait_seconds",
    "Time from a request's arrival at the engine until it has a slot.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
ENGINE_TTFT_SECONDS = Histogram(
    "echo_engine_time_to_first_token_seconds",
    "Time from a request's arrival at the engine to its first token.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)
ENGINE_TPOT_SECONDS = Histogram(
    "echo_engine_time_per_output_token_seconds",
    "Mean time between an answer's tokens, by answer.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 1),
)
ENGINE_BATCH_ROWS = Histogram(
    "echo_engine_batch_sequences",
    "Sequences fed in a step.",
    buckets=(1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024),
)
ENGINE_STEP_SECONDS = Histogram(
    "echo_engine_step_seconds",
    "Time of a step, by part: linear (products with weights), wkv (the recurrence), sampling, overhead (the rest).",
    ["part"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)

STEPS_REQUEUED = Counter(
    "echo_steps_requeued_total",
    "Steps that the reaper had published again, by cause: lease (it died), message (it was lost), due (it is retried), "
    "direct (the worker that it waited for was gone or full).",
    ["cause"],
)
JOBS_GIVEN_UP = Counter("echo_jobs_given_up_total", "Jobs that the reaper put on the dead-letter list.")
LEASES_LOST = Counter(
    "echo_leases_lost_total", "Leases that this worker held and lost, to another or by the job's end."
)

STATE_LOOKUPS = Counter(
    "echo_state_lookups_total", "Prompts whose beginnings were looked up, by result: hit or miss.", ["result"]
)
STATE_HITS = Counter("echo_state_hits_total", "Prompts whose beginning was known, by the tier that knew it.", ["tier"])
STATE_TOKENS_REUSED = Counter("echo_state_tokens_reused_total", "Tokens of prompts that needed no prefill.")
STATES_KEPT = Counter("echo_states_kept_total", "States that were handed over to be kept.")
STATES_DROPPED = Counter("echo_states_dropped_total", "States that were not kept, since too many waited to be.")
STATES_REFUSED = Counter(
    "echo_states_refused_total", "Cached states that could not be used, by reason: damaged or foreign.", ["reason"]
)

WORKER_STALLED_SECONDS = Gauge(
    "echo_worker_stalled_seconds",
    "Time since the worker last took a message, while its queues had some and it had room.",
)

SCALING_DECISIONS = Counter(
    "echo_scaling_decisions_total",
    "Decisions of this controller that differ from the one before, by reason.",
    ["reason"],
)
SCALING_FAULTS = Counter(
    "echo_scaling_actuator_faults_total", "Faults of the actuator that differ from the one before."
)
SCALING_LEADS = Gauge("echo_scaling_leads", "1 while this controller leads; what it decides, all others leave alone.")
SCALING_INSTANCES = Gauge(
    "echo_scaling_instances",
    "Workers by state: desired, current (serving or starting), serving, starting, draining.",
    ["state"],
)
SCALING_UTILISATION = Gauge(
    "echo_scaling_utilisation_ratio", "Steps wanted, by slots that serve, as the decision saw it."
)
SCALING_DEMAND = Gauge("echo_scaling_demand_steps", "Steps by state: busy, delivered, ready.", ["state"])
SCALING_OLDEST_SECONDS = Gauge("echo_scaling_oldest_wait_seconds", "How long the oldest waiting step has waited.")
SCALING_STARTUP_SECONDS = Gauge(
    "echo_scaling_startup_seconds", "What a worker usually takes to start; 0 until measured."
)
SCALING_FORECAST = Gauge(
    "echo_scaling_forecast_steps", "Steps that are forecast for when a worker asked for now serves."
)
SCALING_FORECAST_SCORE = Gauge(
    "echo_scaling_forecast_score_ratio",
    "Loss of the forecast in its backtest, in that of the last value with headroom; below 1 is better.",
)
SCALING_FORECAST_FLOOR = Gauge(
    "echo_scaling_forecast_floor_instances", "Workers that the forecast asks for; 0 for none."
)
STEPS_ROUTED = Counter(
    "echo_steps_routed_total",
    "Steps published, by queue: direct (one worker's) or shared, where LB_STRATEGY chooses.",
    ["queue"],
)

TRACE_SPANS_DROPPED = Counter(
    "echo_trace_spans_dropped_total",
    "Spans that were not sent: the endpoint of the traces was away, refused them, or was too slow.",
)
