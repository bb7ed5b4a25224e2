"""The engine: of a worker."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ENGINE_REQUESTS = Counter(
    "echo_engine_requests_total",
    "Sequences that have left the engine, by outcome: stop, length, read, cancelled, deadline, failed.",
    ["outcome"],
)
ENGINE_PROMPT_TOKENS = Counter("echo_engine_prompt_tokens_total", "Tokens of the prompts that got a slot.")
ENGINE_PREFILL_TOKENS = Counter("echo_engine_prefill_tokens_total", "Tokens of prompts that were fed.")
ENGINE_OUTPUT_TOKENS = Counter("echo_engine_output_tokens_total", "Tokens generated.")
ENGINE_RUNNING = Gauge("echo_engine_running_sequences", "Sequences that hold a slot.")
ENGINE_THREADS = Gauge(
    "echo_engine_threads", "Threads that steps run on: fewer than there are while other programs have the cores."
)
ENGINE_WAITING = Gauge("echo_engine_waiting_sequences", "Sequences in line for a slot.")
ENGINE_SLOTS = Gauge("echo_engine_slots", "Sequences that may run at a time.")
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
