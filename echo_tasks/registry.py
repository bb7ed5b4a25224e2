"""The workers that live: each renews a record about itself, and a record that is not renewed goes away."""

from __future__ import annotations

from collections.abc import Sequence

import redis
from pydantic import ValidationError

from echo_tasks import keys, logs
from echo_tasks.connections import broker_faults
from echo_tasks.liveness import Liveness
from echo_tasks.messages import WorkerRecord
from echo_tasks.scripts import script

log = logs.get(__name__)

SERVICE = "cognitive-service"
"""What the workers are together, under the original document's name."""

STALLED_S = 20
"""From when on a worker that takes nothing though there is something is not healthy: its watchdog acts then, too."""

DRAIN_S = 3600
"""How long the wish that a worker drains outlives the worker's last heartbeat, should it not be there to hear it."""


def serves(worker: WorkerRecord) -> bool:
    """Whether a live worker takes work: it neither drains nor is stalled."""
    return not worker.draining and worker.stalled_s < STALLED_S


class Registry:
    """The workers' records on one broker, whose clock alone counts. Every method raises BrokerUnavailable."""

    def __init__(self, client: redis.Redis, liveness: Liveness | None = None) -> None:
        self._redis = client
        self.liveness = liveness or Liveness()
        self._announce = script(client, "announce")

    def announce(self, record: WorkerRecord, up_s: float = 0.0) -> bool:
        """Renew the record, for `liveness.record_s`, of a worker that started `up_s` ago; whether it is to drain."""
        node = record.node
        told = record.model_dump_json(exclude={"started_at", "seen_at"})
        with broker_faults():
            reply = self._announce(
                keys=[keys.worker(node), keys.WORKERS, keys.drain(node)],
                args=[node, told, f"{up_s:.3f}", round(1000 * self.liveness.record_s), DRAIN_S],
            )
        return bool(reply)

    def withdraw(self, node: str) -> None:
        """Take the record away at once, as a worker does when it stops."""
        with broker_faults(), self._redis.pipeline(transaction=False) as pipe:
            pipe.delete(keys.worker(node), keys.drain(node))
            pipe.srem(keys.WORKERS, node)
            pipe.execute()

    def drain(self, node: str) -> bool:
        """Have a live worker take no new work, finish what it holds, and end; false when there is no such worker."""
        with broker_faults(), self._redis.pipeline() as pipe:
            pipe.exists(keys.worker(node))
            pipe.set(keys.drain(node), "1", ex=DRAIN_S)
            is_there = bool(pipe.execute()[0])
            if not is_there:
                self._redis.delete(keys.drain(node))
        return is_there

    def live(self) -> list[WorkerRecord]:
        """The workers that are alive and have their model loaded, by node."""
        return self.snapshot()[1]

    def snapshot(self) -> tuple[float, list[WorkerRecord]]:
        """The broker's time, and the workers that live then; one that is asked to drain does, heard or not."""
        with broker_faults():
            nodes = sorted(self._redis.smembers(keys.WORKERS))
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.time()
                for key in (keys.worker, keys.drain):
                    if nodes:
                        pipe.mget([key(node) for node in nodes])
                (seconds, micros), *known = pipe.execute()
            records, wishes = known or ([], [])
            if gone := [node for node, record in zip(nodes, records, strict=True) if record is None]:
                self._redis.srem(keys.WORKERS, *gone)
        return seconds + micros / 1e6, _read_all(records, wishes)


def _read_all(records: Sequence[str | None], wishes: Sequence[str | None]) -> list[WorkerRecord]:
    found = []
    for record, wish in zip(records, wishes, strict=True):
        if record is not None and (worker := _read(record)):
            found.append(worker if wish is None else worker.model_copy(update={"draining": True}))
    return found


def _read(record: str) -> WorkerRecord | None:
    """The record, or None for one that another version wrote in another form."""
    try:
        return WorkerRecord.model_validate_json(record)
    except ValidationError as error:
        log.warning("unreadable worker record", error=str(error))
        return None
