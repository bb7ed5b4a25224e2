"""Messages that tests need whole, with nothing in them that matters."""

from __future__ import annotations

import uuid
from typing import Any

from echo_tasks import keys
from echo_tasks.messages import WorkerRecord


def a_worker(node: str | None = None, **told: Any) -> WorkerRecord:
    """The record of a worker that no other test knows, and whose answers are nobody else's."""
    plain = {
        "node": node or f"{uuid.uuid4().hex}@test",
        "pid": 1,
        "queues": [],
        "slots": 1,
        "model_id": "m",
        "answers_id": uuid.uuid4().hex,
        "model_name": "m",
        "version": "0",
        "started_at": 0.0,
    }
    return WorkerRecord.model_validate(plain | told)


def a_server(node: str, **told: Any) -> WorkerRecord:
    """The record of a worker that serves every step."""
    queues = [*map(keys.queue, keys.STEPS), keys.direct(node)]
    return a_worker(node, **({"queues": queues, "slots": 8} | told))
