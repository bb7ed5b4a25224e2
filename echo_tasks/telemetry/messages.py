"""Messages between processes: of whoever takes them from the broker."""

from __future__ import annotations

from prometheus_client import Counter

MESSAGES_DROPPED = Counter(
    "echo_messages_dropped_total", "Messages taken from the broker that were none as we make them, and dropped."
)
