"""What an ended job leaves to its session, as `lua/finish.lua` takes it."""

from __future__ import annotations

import json

from echo_tasks.memories import MEMORIES_KEPT, written
from echo_tasks.messages import JobResult, JobSpec, Turn
from echo_tasks.sessions import SessionBounds

NO_TURN = ("", "")
"""Of a job that leaves none."""


def turn_made_by(spec: JobSpec, result: JobResult, bounds: SessionBounds) -> list[str | int]:
    """The turn of an answer: from a cached one's mark to the new memories."""
    turn = Turn(user=spec.input_text, assistant=result.response_text, tokens=result.turn_tokens)
    return [
        "1" if result.cache_hit else "",
        json.dumps(turn.model_dump() | {"job_id": spec.job_id}, ensure_ascii=False),
        turn.model_dump_json(include={"user", "assistant"}),
        turn.tokens,
        bounds.turns,
        bounds.tokens,
        MEMORIES_KEPT,
        len(result.memories_used),
        *result.memories_used,
        *(written(draft, spec.job_id, spec.tags) for draft in result.memories_made),
    ]
