"""Messages that tests need whole, with nothing in them that matters."""

from __future__ import annotations

import uuid

from echo_tasks.messages import WorkerRecord


def a_worker() -> WorkerRecord:
    """The record of a worker that no other test knows, and whose answers are nobody else's."""
    return WorkerRecord(
        node=f"{uuid.uuid4().hex}@test",
        pid=1,
        queues=[],
        slots=1,
        model_id="m",
        answers_id=uuid.uuid4().hex,
        model_name="m",
        version="0",
        started_at=0.0,
    )
