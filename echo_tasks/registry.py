"""The workers that live: each renews a record about itself, and a record that is not renewed goes away."""

from __future__ import annotations

import redis

from echo_tasks import keys
from echo_tasks.connections import broker_faults
from echo_tasks.messages import WorkerRecord

HEARTBEAT_S = 2
TIME_TO_LIVE_S = 10


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
            pipe.delete(keys.worker(node))
            pipe.srem(keys.WORKERS, node)
            pipe.execute()

    def live(self) -> list[WorkerRecord]:
        """The workers that are alive and have their model loaded, by node."""
        with broker_faults():
            nodes = sorted(self._redis.smembers(keys.WORKERS))
            if not nodes:
                return []
            records = self._redis.mget([keys.worker(node) for node in nodes])
            if gone := [node for node, record in zip(nodes, records, strict=True) if record is None]:
                self._redis.srem(keys.WORKERS, *gone)
        return [WorkerRecord.model_validate_json(record) for record in records if record is not None]
