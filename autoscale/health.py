"""The controller's health, as it is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from autoscale.controller import Standing
from echo_tasks import exposition
from echo_tasks.serving import Answer

LATEST_S = 10.0
"""A controller whose latest round is longer ago is not well: its broker is away, or it hangs."""


def health(standing: Standing, now: float) -> tuple[int, dict[str, Any]]:
    """Status and body: 503 unless a round was over of late. A fault of the actuator's is told; it is not ours."""
    is_well = now - standing.at <= LATEST_S
    state = standing.state
    fault = state.fault if state else ""
    return 200 if is_well else 503, {
        "status": "unhealthy" if not is_well else "degraded" if fault else "healthy",
        "detail": fault
        if is_well
        else "no round was over of late: the broker does not answer, or the controller hangs",
        "leads": standing.leads and is_well,
        "state": state.model_dump() if state and is_well else None,
    }


def answers(standing: Callable[[], Standing]) -> dict[str, Callable[[], Answer]]:
    """What the controller's server answers, by path."""

    def of_health() -> Answer:
        status, body = health(standing(), time.monotonic())
        return status, "application/json", json.dumps(body).encode()

    return {"/health": of_health, "/metrics": exposition.answer}
