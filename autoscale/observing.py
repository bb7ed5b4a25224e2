"""Observing: from the ledger, the queues and the registry to one observation, by the broker's clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low

import redis

from autoscale.observation import Instance, Observation
from echo_tasks import holding, keys
from echo_tasks.connections import broker_faults
from echo_tasks.messages import WorkerRecord
from echo_tasks.registry import Registry
from echo_tasks.scripts import script

_LANES = [lane for step in keys.STEPS for lane in keys.lanes(step)]

MOST_TIMES_THE_MEDIAN = 2
"""Slots that a worker claims beyond this multiple of what half of all have are not believed."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An observation, as far as the broker knows; `asked` is how many workers somebody asked for by hand.

    `strangers`: nodes that hold leases and have no record. Their heartbeats are missing: this is not all there is.
    """

    observation: Observation
    strangers: Sequence[str]
    asked: int | None


class Observer:
    """Looks at one broker's farm. It raises BrokerUnavailable."""

    def __init__(self, client: redis.Redis, registry: Registry) -> None:
        self._registry = registry
        self._load = script(client, "load")

    def look(self) -> Seen:
        """The farm now, but for the instances that are starting: those the broker does not know."""
        records = self._registry.live()
        lanes = [*_LANES, *(keys.direct_lane(record.node) for record in records)]
        with broker_faults():
            at, arrived, ended, taken, asked, oldest, ready, held = self._load(
                keys=[
                    keys.LEASES,
                    keys.COUNTS,
                    holding.HELD,
                    keys.SCALING_ASKED,
                    *lanes,
                    *(name for queue in _queues(records) for name in keys.lists(queue)),
                ],
                args=[keys.job(""), len(lanes)],
            )
        busy = {node: int(count) for node, count in zip(held[::2], held[1::2], strict=True)}
        observation = Observation(
            at=float(at),
            instances=_instances(records, busy),
            starting=0,
            ready=ready,
            delivered=max(0, taken - sum(busy.values())),
            oldest_s=max(0.0, float(at) - float(oldest)) if oldest else 0.0,
            arrived=int(arrived),
            steps=ended,
        )
        strangers = sorted(busy.keys() - {record.node for record in records})
        return Seen(observation, strangers, int(asked) if asked else None)


def _queues(records: Iterable[WorkerRecord]) -> Sequence[str]:
    """The queues of the steps, and those that workers have of their own."""
    return sorted({keys.queue(step) for step in keys.STEPS}.union(*(record.queues for record in records)))


def _instances(records: Sequence[WorkerRecord], busy: dict[str, int]) -> Sequence[Instance]:
    most = MOST_TIMES_THE_MEDIAN * median_low(record.slots for record in records) if records else 0
    return [
        Instance(
            node=record.node,
            slots=max(1, min(record.slots, most)),
            busy=busy.get(record.node, 0),
            started_at=record.started_at,
            is_draining=record.draining,
            tokens=record.tokens,
            machine=record.machine,
            model=record.model_id,
            threads=record.threads,
            memory_bytes=record.memory_bytes,
            memory_most_bytes=record.memory_most_bytes,
        )
        for record in records
    ]
