"""The key under which a job's answer is cached: a hash of all that decides the answer, and of nothing else."""

from __future__ import annotations

import hashlib
import json

from echo_tasks.messages import JobSpec

_DECISIVE = {"input_text", "membranes", "options", "past"}


def answer_key(spec: JobSpec, answers_id: str) -> str:
    """The key of the job's answer from workers whose model and templates are `answers_id`.

    The session's id, the priority and the tags decide nothing; two sessions in which the same was said share
    the answer to the same question.
    """
    decisive = spec.model_dump(mode="json", include=_DECISIVE) | {"answers_id": answers_id}
    canonical = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return f"answer:{hashlib.sha256(canonical.encode()).hexdigest()}"
