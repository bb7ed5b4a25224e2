"""Whether the exporter does its work: the farm can be read, and Celery is heard."""

from __future__ import annotations

import json

from echo_tasks.serving import Answer

JSON = "application/json"


def answer(fault: str, *, is_heard: bool) -> Answer:
    """200, or 503 and why: a scrape would tell nothing of the farm, or nothing new of Celery."""
    problems = [fault] if fault else []
    if not is_heard:
        problems.append("Celery's events are not heard")
    status, word = (503, "unhealthy") if problems else (200, "healthy")
    return status, JSON, json.dumps({"status": word, "detail": "; ".join(problems)}).encode()
