"""A farm's traces in a broker, made by hand, and controllers that look at them; time passes as it does."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import redis

from autoscale.actuators import Actuator
from autoscale.controller import Controller
from autoscale.decision import Decision, Memory, Policy, Reason
from autoscale.observation import Instance, Observation, Room
from echo_tasks import connections, holding, keys
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import ActuatorError
from echo_tasks.ledger import Ledger
from echo_tasks.messages import JobSpec, Lease, WorkerRecord
from echo_tasks.publishing import Publisher
from echo_tasks.registry import Registry
from echo_tasks.scaling import Scaling


class Scene:
    """One database of a broker, empty at first."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.broker: redis.Redis = connections.impatient(url)
        self.broker.flushdb()
        self.ledger = Ledger(self.broker, retention_s=600, session_s=600)
        self.dispatcher = Dispatcher(self.ledger, Publisher(url), None)
        self.registry = Registry(self.broker)
        self.scaling = Scaling(self.broker)

    def worker(self, node: str, slots: int = 4, **fields: Any) -> None:
        """A worker's heartbeat."""
        known = {"pid": 1, "queues": ["echo.memory"], "model_id": "m", "answers_id": "a", "model_name": "n"}
        record = WorkerRecord(node=node, slots=slots, version="1", started_at=1.0, **(known | fields))
        self.registry.announce(record)

    def job(self, priority: int = 1, membrane: str = "memory") -> JobSpec:
        """A job of one step, whose message waits."""
        ids = {"job_id": uuid.uuid4().hex, "session_id": uuid.uuid4().hex, "membranes": [membrane]}
        spec = JobSpec.model_validate(ids | {"input_text": "Hello.", "priority": priority})
        self.ledger.create(spec)
        self.dispatcher.advance(spec.session_id)
        return spec

    def delivered(self, priority: int = 1, membrane: str = "memory") -> JobSpec:
        """A job whose message a worker has taken, and not begun with."""
        spec = self.job(priority, membrane)
        self.broker.rpop(keys.waiting(membrane, priority))
        self.broker.hset(holding.HELD, spec.job_id, "a message")
        return spec

    def running(self, node: str, membrane: str = "memory") -> Lease:
        """A job whose step a worker runs."""
        spec = self.delivered(membrane=membrane)
        claim = self.ledger.steps.claim(spec.job_id, membrane, node)
        lease: Lease = claim.lease  # type: ignore[union-attr]
        return lease

    def events(self) -> list[str]:
        """The reasons of all that was recorded, the first one first."""
        return [one.event.reason for one in reversed(self.scaling.events(1000))]


class Hands(Actuator):
    """An actuator that does as the test says: `gives` of what is asked for, or fails with `fault`."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.made = 0
        self.gives: int | None = None
        self.fault = ""
        self.is_blind = False
        self.carries: Room | None = None
        self.started: list[int] = []
        self.drained: list[str] = []

    def starting(self, live: Sequence[Instance]) -> int | None:
        return None if self.is_blind else self.made

    def room(self, live: Sequence[Instance], starting: int) -> Room | None:
        return self.carries

    def start(self, count: int) -> None:
        self.started.append(count)
        self.made += count if self.gives is None else self.gives
        if self.fault:
            raise ActuatorError(self.fault)

    def drain(self, instances: Sequence[Instance]) -> None:
        self.drained += [instance.node for instance in instances]
        if self.fault:
            raise ActuatorError(self.fault)
        for instance in instances:
            self._scene.registry.drain(instance.node)


def to_demand(
    policy: Policy, memory: Memory, seen: Observation, floor: int = 0, asked: int | None = None
) -> tuple[Decision, Memory]:
    """A policy for tests: at once as many as the demand of the moment needs, or a person wants, and the idlest goes."""
    serving = sorted(seen.serving, key=lambda one: (one.busy, one.node))
    current = len(serving) + (seen.starting or 0)
    slots = sum(one.slots for one in serving) / len(serving) if serving else 1
    needed = max(-(-seen.demand // round(slots)), floor) if asked is None else asked
    wanted = min(max(needed, policy.least), policy.most)
    if seen.starting is None:
        return Decision(seen.at, current, current, Reason.INSUFFICIENT_DATA, 0.0), memory
    if asked is None and not policy.is_enabled:
        return Decision(seen.at, current, current, Reason.DISABLED, 0.0), memory
    grown = Reason.SCALE_UP if wanted > current else Reason.SCALE_DOWN if wanted < current else Reason.STEADY
    victims = [one.node for one in serving[: max(0, len(serving) - wanted)]]
    reason = grown if asked is None else Reason.ASKED
    return Decision(seen.at, current, wanted, reason, seen.demand / max(1, slots), victims), memory


class Watch:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def a_controller(scene: Scene, hands: Any, watch: Watch, **options: Any) -> Controller:
    """A controller of up to four workers, whose clock is the watch."""
    known = {"name": "test", "actuator_name": "hands", "decides": to_demand, "clock": watch}
    policy = options.pop("policy", Policy(least=1, most=4, interval_s=1))
    return Controller(scene.broker, policy, hands, **(known | options))


def rounds(controller: Controller, watch: Watch, count: int = 1) -> None:
    """So many rounds, a second apart."""
    for _ in range(count):
        watch.at += 1
        controller.round()
