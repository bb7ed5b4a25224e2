"""Why a decision is what it is."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The codes by which decisions are told, counted and kept."""

    STEADY = "steady"
    BETWEEN = "between_intervals"
    SCALE_UP = "scale_up"
    BURST = "burst"
    FORECAST = "forecast"
    BELOW_MIN = "below_min"
    ABOVE_MAX = "above_max"
    AT_MAX = "at_max"
    HOST_FULL = "host_full"
    NO_GAIN = "no_gain"
    SCALE_DOWN = "scale_down"
    STABILISING = "stabilising"
    CONSOLIDATION_REFUSED = "consolidation_refused"
    SCALING_IN_PROGRESS = "scaling_in_progress"
    INSUFFICIENT_DATA = "insufficient_data"
    DISABLED = "disabled"
    ASKED = "asked"
    OVERDUE = "overdue"
