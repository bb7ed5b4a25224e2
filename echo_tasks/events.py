"""A job's event stream: what its clients see happen, in order, while it happens and for a while after."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import redis

from echo_tasks import keys
from echo_tasks.connections import broker_faults
from echo_tasks.messages import Lease
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
        self._name = uuid.uuid4().hex
        self._batches = itertools.count()

    def append(self, texts: Mapping[Lease, str]) -> set[Lease]:
        """Append a `token` event for each step's text by one script; none for one that is empty, which only asks.

        Returns the leases that take no more: lost, or of jobs that have ended, been cancelled among them.
        """
        if not texts:
            return set()
        names: list[str] = []
        flat: list[str | int] = [keys.WAKE_CHANNEL, EVENTS_KEPT, f"{self._name}-{next(self._batches)}"]
        for lease, text in texts.items():
            names += (keys.job(lease.job_id), keys.events(lease.job_id))
            flat += (lease.job_id, lease.step, lease.token, _token(lease.step, text) if text else "")
        with broker_faults():
            replies = self._append(keys=names, args=flat)
        return {lease for lease, is_heard in zip(texts, replies, strict=True) if not is_heard}

    def read(self, job_id: str, after: str = START, limit: int = 10_000) -> list[Event]:
        """Up to `limit` events that came after the id `after`, oldest first; none for an unknown job."""
        with broker_faults():
            entries = self._redis.xrange(keys.events(job_id), min=f"({after}", count=limit)
        return [Event(entry_id, fields["type"], fields["data"]) for entry_id, fields in entries]


def _token(step: str, text: str) -> str:
    return json.dumps({"membrane": step, "text": text}, ensure_ascii=False, separators=(",", ":"))
