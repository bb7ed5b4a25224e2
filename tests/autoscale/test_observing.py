"""Observing: what is counted, and what is not believed."""

from __future__ import annotations

import pytest
from scene import Scene

from autoscale.observing import Observer
from echo_tasks import keys


@pytest.fixture
def observer(scene: Scene) -> Observer:
    return Observer(scene.broker, scene.registry)


def test_steps_are_counted_where_they_are(scene: Scene, observer: Observer) -> None:
    """Run, by the node that runs them; taken and not begun; waiting, over all queues and priorities."""
    scene.worker("a@h")
    scene.worker("b@h")
    for node in ("a@h", "a@h", "b@h"):
        scene.running(node)
    scene.delivered()
    for priority, membrane in ((1, "memory"), (10, "memory"), (5, "grammar"), (3, "reasoning")):
        scene.job(priority, membrane)
    seen = observer.look().observation
    assert {one.node: one.busy for one in seen.instances} == {"a@h": 2, "b@h": 1}
    assert (seen.delivered, seen.ready, seen.demand) == (1, 4, 8)
    assert seen.arrived == 8


def test_queues_that_a_worker_has_for_itself_count(scene: Scene, observer: Observer) -> None:
    """Whatever it consumes, by its own word."""
    scene.worker("a@h", queues=["echo.memory", "echo.direct.a@h"])
    scene.broker.lpush(keys.lists("echo.direct.a@h")[3], "a message")
    scene.broker.zadd(keys.direct_lane("a@h"), {"job.memory": observer.look().observation.at - 30})
    seen = observer.look().observation
    assert seen.ready == 1
    assert seen.oldest_s == pytest.approx(30, abs=5)


def test_the_oldest_wait_is_by_the_brokers_clock(scene: Scene, observer: Observer) -> None:
    """The time since the publication of the oldest step that nobody has begun, waiting or delivered."""
    assert observer.look().observation.oldest_s == 0
    scene.job()
    old = scene.delivered(membrane="grammar")
    at = observer.look().observation.at
    scene.broker.zadd(keys.lane("grammar", 1), {f"{old.job_id}.grammar": at - 30})
    assert observer.look().observation.oldest_s == pytest.approx(30, abs=5)


def test_a_lease_that_has_run_out_is_nobodys(scene: Scene, observer: Observer) -> None:
    """Its step is not run any more; its message is still taken."""
    scene.worker("a@h")
    lease = scene.running("a@h")
    scene.broker.zadd(keys.LEASES, {f"{lease.job_id}.{lease.step}": 1.0})
    seen = observer.look().observation
    assert [one.busy for one in seen.instances] == [0]
    assert seen.demand == seen.delivered == 1


def test_a_worker_that_lies_about_its_slots_does_not_mislead(scene: Scene, observer: Observer) -> None:
    """Twice what half of all have is believed, and at least one."""
    for node, slots in (("a@h", 8), ("b@h", 8), ("c@h", 1024)):
        scene.worker(node, slots=slots)
    assert [one.slots for one in observer.look().observation.instances] == [8, 8, 16]


def test_whoever_is_to_drain_does_not_serve(scene: Scene, observer: Observer) -> None:
    """By its own word, or before it has heard of it."""
    scene.worker("a@h", draining=True)
    scene.worker("b@h")
    scene.worker("c@h")
    scene.registry.drain("b@h")
    seen = observer.look().observation
    assert [one.node for one in seen.serving] == ["c@h"]
    assert len(seen.instances) == 3


def test_a_node_that_runs_steps_and_says_nothing_is_told_of(scene: Scene, observer: Observer) -> None:
    """Its heartbeats are missing."""
    scene.worker("a@h")
    scene.running("a@h")
    scene.running("b@h")
    assert observer.look().strangers == ["b@h"]


def test_an_empty_broker_is_an_empty_farm(observer: Observer) -> None:
    """Nothing is wrong with it."""
    seen = observer.look()
    assert (seen.observation.instances, seen.observation.demand, seen.strangers, seen.asked) == ([], 0, [], None)


def test_work_is_counted_in_steps_that_ended_and_tokens(scene: Scene, observer: Observer) -> None:
    """However steps ended; what a worker needs of its machine comes by its own word."""
    needs = {"threads": 2, "memory_bytes": 5, "memory_most_bytes": 7, "machine": "m"}
    scene.worker("a@h", tokens=12, **needs)
    scene.broker.hset(keys.COUNTS, mapping={"steps:memory:succeeded": 3, "steps:grammar:failed": 2, "jobs:accepted": 9})
    seen = observer.look().observation
    (instance,) = seen.instances
    assert (seen.steps, seen.arrived, instance.tokens, instance.model) == (5, 9, 12, "m")
    assert {name: getattr(instance, name) for name in needs} == needs
