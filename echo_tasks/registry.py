"""The workers that live: each renews a record about itself, and a record that is not renewed goes away."""

from __future__ import annotations

import redis
from pydantic import ValidationError

from echo_tasks import keys, logs
from echo_tasks.connections import broker_faults
from echo_tasks.messages import WorkerRecord

log = logs.get(__name__)

SERVICE = "cognitive-service"
"""What the workers are together, under the original document's name."""

HEARTBEAT_S = 2
TIME_TO_LIVE_S = 10

DRAIN_S = 3600


class Registry:
    """The workers' records on one broker. Every method raises BrokerUnavailable."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def announce(self, record: WorkerRecord) -> None:
        """Renew the record for TIME_TO_LIVE_S seconds."""
        with broker_faults(), self._redis.pipeline(transaction=False) as pipe:
            pipe.set(keys.worker(record.node), record.model_dump_json(), ex=TIME_TO_LIVE_S)
            pipe.sadd(keys.WORKERS, record.node)
            pipe.execute()

    def withdraw(self, node: str) -> None:
        """Take the record away at once, as a worker does when it stops."""
        with broker_faults(), self._redis.pipeline(transaction=False) as pipe:
            pipe.delete(keys.worker(node), keys.drain(node))
            pipe.srem(keys.WORKERS, node)
            pipe.execute()

    def drain(self, node: str) -> None:
        """Have a worker take no more work, finish what it has, and go."""
        with broker_faults():
            self._redis.set(keys.drain(node), "1", ex=DRAIN_S)

    def live(self) -> list[WorkerRecord]:
        """The workers that are alive and have their model loaded, by node."""
        with broker_faults():
            nodes = sorted(self._redis.smembers(keys.WORKERS))
            if not nodes:
                return []
            records = self._redis.mget([keys.worker(node) for node in nodes])
            wishes = self._redis.mget([keys.drain(node) for node in nodes])
            if gone := [node for node, record in zip(nodes, records, strict=True) if record is None]:
                self._redis.srem(keys.WORKERS, *gone)
        found = [(_read(record), wish) for record, wish in zip(records, wishes, strict=True) if record is not None]
        return [worker.model_copy(update={"draining": True}) if wish else worker for worker, wish in found if worker]


def _read(record: str) -> WorkerRecord | None:
    """The record, or None for one that another version wrote in another form."""
    try:
        return WorkerRecord.model_validate_json(record)
    except ValidationError as error:
        log.warning("unreadable worker record", error=str(error))
        return None
