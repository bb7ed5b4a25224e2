"""Prometheus finds the workers here: HTTP service discovery of the endpoints that their records name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from echo_tasks.errors import BrokerUnavailable
from echo_tasks.messages import WorkerRecord
from echo_tasks.serving import Answer

JOB = "echo-worker"

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):\d{1,5}")


def targets(records: Iterable[WorkerRecord]) -> list[dict[str, Any]]:
    """A group a worker. One bad address would have Prometheus refuse all of them, so it is left out."""
    return [
        {"targets": [one.metrics_address], "labels": {"job": JOB, "node": one.node, "host": one.host}}
        for one in records
        if _ADDRESS.fullmatch(one.metrics_address)
    ]


def answer(live: Callable[[], Iterable[WorkerRecord]]) -> Answer:
    """The targets as JSON; 503 while the broker is away: Prometheus keeps those that it had."""
    try:
        return 200, "application/json", json.dumps(targets(live())).encode()
    except BrokerUnavailable as error:
        return 503, "text/plain", f"the broker does not answer: {error.reason}\n".encode()
