"""Sessions: of the whole farm, not of a process."""

from __future__ import annotations

ACTIVE_SESSIONS = ("deep_echo_active_sessions", "cognitive_service_active_sessions")
"""Gauges of the farm, not of a process: the original document has two names for the number of live sessions."""
