"""The queues as they are in the broker: how long, how old, in whose hands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import redis
from prometheus_client.metrics_core import Metric

from echo_tasks import holding, keys
from echo_tasks.connections import broker_faults
from echo_tasks.messages import WorkerRecord
from echo_tasks.telemetry import celery, farm
from monitoring.exporter.families import gauges


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue, or all workers' own queues together, at a moment."""

    length: int
    in_flight: int
    oldest_s: float | None
    """None where nobody notes when messages were published."""


class Queues:
    """Looks at the queues of one broker: the steps', the workers' own, and those that `others` names."""

    def __init__(self, client: redis.Redis, others: Callable[[], Iterable[str]]) -> None:
        self._redis = client
        self._others = others

    def look(self) -> dict[str, Queue]:
        """The queues by name. Two round trips; raises BrokerUnavailable."""
        with broker_faults():
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.zrange(keys.DIRECTS, 0, -1)
                pipe.hvals(holding.HELD)
                (seconds, micros), nodes, held = pipe.execute()
            lists, lanes = _lists(nodes, self._others()), _lanes(nodes)
            lengths = self._lengths(lists)
            published = self._oldest(lanes)
        now, in_flight = seconds + micros / 1e6, _by_queue(held)
        oldest_s = {name: max(0.0, now - at) if at is not None else 0.0 for name, at in published.items()}
        return {name: Queue(lengths[name], in_flight[name], oldest_s.get(name)) for name in lists}

    def families(self, records: Sequence[WorkerRecord]) -> Iterator[Metric]:
        """The metrics of the queues, and of the live workers that take from them. Raises BrokerUnavailable."""
        found = self.look()
        workers, slots = _taking(records)
        yield gauges(celery.QUEUE_LENGTH, "queue_name", {name: queue.length for name, queue in found.items()})
        yield gauges(farm.IN_FLIGHT, "queue_name", {name: queue.in_flight for name, queue in found.items()})
        ages = {name: queue.oldest_s for name, queue in found.items() if queue.oldest_s is not None}
        yield gauges(farm.OLDEST_AGE, "queue_name", ages)
        for declared, counted in (
            (celery.CONSUMERS, workers),
            (celery.WORKERS, workers),
            (celery.PROCESSES, slots),
        ):
            yield gauges(declared, "queue_name", {name: counted[name] for name in found})

    def _lengths(self, lists: Mapping[str, Sequence[str]]) -> dict[str, int]:
        with self._redis.pipeline(transaction=False) as pipe:
            for name in lists:
                for one in lists[name]:
                    pipe.llen(one)
            counts = iter(pipe.execute())
        return {name: sum(next(counts) for _ in lists[name]) for name in lists}

    def _oldest(self, lanes: Mapping[str, Sequence[str]]) -> dict[str, float | None]:
        with self._redis.pipeline(transaction=False) as pipe:
            for name in lanes:
                for lane in lanes[name]:
                    pipe.zrange(lane, 0, 0, withscores=True)
            firsts = iter(pipe.execute())
        found = {name: [score for _ in lanes[name] for _, score in next(firsts)] for name in lanes}
        return {name: min(scores, default=None) for name, scores in found.items()}


def _lists(nodes: Iterable[str], others: Iterable[str]) -> dict[str, list[str]]:
    """The lists of each queue."""
    steps = {keys.queue(step): keys.lists(keys.queue(step)) for step in keys.STEPS}
    directs = [name for node in nodes for name in keys.lists(keys.direct(node))]
    return steps | {keys.DIRECT: directs} | {name: keys.lists(name) for name in others}


def _lanes(nodes: Iterable[str]) -> dict[str, list[str]]:
    """Where the ledger notes when a queue's messages were published that no worker has begun."""
    steps = {keys.queue(step): keys.lanes(step) for step in keys.STEPS}
    return steps | {keys.DIRECT: [keys.direct_lane(node) for node in nodes]}


def _named(queue: str) -> str:
    return keys.DIRECT if queue.startswith(keys.direct("")) else queue


def _by_queue(held: Iterable[str]) -> Counter[str]:
    """How many messages of each queue are held; what kombu has not written there is passed over."""
    found: Counter[str] = Counter()
    for text in held:
        try:
            _, _, routing_key = json.loads(text)
        except (ValueError, TypeError):
            continue
        found[_named(str(routing_key))] += 1
    return found


def _taking(records: Iterable[WorkerRecord]) -> tuple[Counter[str], Counter[str]]:
    """How many workers take from each queue, and how many slots they have; those that drain take nothing."""
    workers: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    for record in records:
        for name in set(map(_named, record.queues)) if not record.draining else ():
            workers[name] += 1
            slots[name] += record.slots
    return workers, slots
