"""A job's event stream: what its clients see happen, in order, while it happens and for a while after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from echo_tasks import keys
from echo_tasks.connections import broker_faults
from echo_tasks.scripts import script

EVENTS_KEPT = 20_000
"""Events kept of one job, about; far more than four generations of 4,096 tokens make when batched."""

START = "0-0"
"""The id before the first event of every stream."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `kind` is `status`, `token`, `result` or `error`; `data` is JSON text."""

    id: str
    kind: str
    data: str

    @property
    def is_last(self) -> bool:
        """Whether the stream ends with this event."""
        return self.kind in {"result", "error"} or json.loads(self.data).get("status") == "cancelled"


class Events:
    """The event streams on one broker. Threads and greenlets may share it."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client
        self._append = script(client, "append")

    def append(self, tokens: Mapping[str, Sequence[Mapping[str, Any]]]) -> set[str]:
        """Append `token` events to several jobs' streams by one script; none to a job that is only asked after.

        Returns the jobs that take no more events because they have ended, been cancelled among them.
        """
        if not tokens:
            return set()
        records: list[str] = []
        flat: list[str | int] = [keys.WAKE_CHANNEL, EVENTS_KEPT]
        for job_id, pieces in tokens.items():
            records += (keys.job(job_id), keys.events(job_id))
            flat += (job_id, len(pieces), *_token_events(pieces))
        with broker_faults():
            replies = self._append(keys=records, args=flat)
        return {job_id for job_id, open_ in zip(tokens, replies, strict=True) if not open_}

    def read(self, job_id: str, after: str = START, limit: int = 10_000) -> list[Event]:
        """Up to `limit` events that came after the id `after`, oldest first; none for an unknown job."""
        with broker_faults():
            entries = self._redis.xrange(keys.events(job_id), min=f"({after}", count=limit)
        return [Event(entry_id, fields["type"], fields["data"]) for entry_id, fields in entries]


def _token_events(pieces: Iterable[Mapping[str, Any]]) -> list[str]:
    flat: list[str] = []
    for piece in pieces:
        flat += ("token", json.dumps(piece, ensure_ascii=False, separators=(",", ":")))
    return flat
