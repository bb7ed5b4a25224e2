"""States of prompts' beginnings: of a worker."""

from __future__ import annotations

from prometheus_client import Counter

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
