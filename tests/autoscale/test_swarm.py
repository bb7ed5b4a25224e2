"""Workers as tasks of a Swarm service, under an orchestrator that removes what swarmkit would."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from exchange import served
from registry_fake import Draining, on
from swarm_fake import ID, SERVICE, SwarmFake

from autoscale.actuators.assembly import make
from autoscale.actuators.swarm import LEAVING, Swarm
from echo_tasks.errors import ActuatorError
from echo_tasks.settings import load


@pytest.fixture
def engine() -> SwarmFake:
    return SwarmFake()


@pytest.fixture
def swarm(engine: SwarmFake, registry: Draining) -> Iterator[Swarm]:
    env = {"DOCKER_MODE": "swarm", "DOCKER_PROJECT": "farm", "DOCKER_SERVICE": "worker"}
    with served(engine) as address:
        actuator = make("docker", load(env | {"DOCKER_HOST": f"tcp://{address}"}), registry)
        assert isinstance(actuator, Swarm)
        yield actuator
        actuator._engine.close()


def test_more_replicas_and_nothing_else(engine: SwarmFake, swarm: Swarm) -> None:
    """The service's own specification goes back with another number, at the version that was read: no task changes."""
    before = copy.deepcopy(engine.spec)
    swarm.start(3)
    (update,) = engine.asked_for("^POST")
    assert str(update) == f"POST /v{engine.version}/services/{ID}/update"
    assert update.query == {"version": "10"}
    assert update.body == before | {"Mode": {"Replicated": {"Replicas": 4}}}
    assert len(engine.hosts) == 4
    assert engine.replaced == 0


def test_what_is_starting_has_not_announced_itself(engine: SwarmFake, swarm: Swarm) -> None:
    """Replicas less the live workers of this service, whether they have a container yet or not."""
    engine.scale(3)
    engine.tasks[2]["Status"] = {"State": "preparing"}
    assert swarm.starting([on(engine.hosts[0]), on("elsewhere")]) == 2


def test_a_drained_task_goes_and_no_other(engine: SwarmFake, swarm: Swarm, registry: Draining) -> None:
    """The number is lowered when its worker has ended; until then it is neither starting nor counted."""
    engine.scale(4)
    first, second, *others = engine.hosts
    swarm.drain([on(first), on(second)])
    assert sorted(registry.told) == sorted([f"celery@{first}", f"celery@{second}"])
    assert swarm.starting([on(host) for host in (first, second, *others)]) == 0
    assert engine.replicas == 4
    engine.end(first)
    assert swarm.starting([on(host) for host in (second, *others)]) == 0
    assert engine.replicas == 3
    engine.end(second)
    assert swarm.starting([on(host) for host in others]) == 0
    assert engine.replicas == 2
    assert engine.hosts == others
    assert engine.killed == []
    assert LEAVING not in engine.spec["Labels"]
    assert engine.replaced == 0


def test_the_number_waits_while_another_would_be_killed(engine: SwarmFake, swarm: Swarm, registry: Draining) -> None:
    """Swarm removes from the node with most: an ended task stays, at no cost, until it is there."""
    engine.nodes = ("node-a", "node-b")
    engine.scale(4)
    on_a = [task for task in engine.tasks if task["NodeID"] == "node-a"]
    goes = str(on_a[0]["Status"]["ContainerStatus"]["ContainerID"])[:12]
    engine.tasks.remove(on_a[1])
    engine._add()
    engine.tasks[-1]["NodeID"] = "node-b"
    others = [host for host in engine.hosts if host != goes]
    swarm.drain([on(goes)])
    engine.end(goes)
    assert swarm.starting([on(host) for host in others]) == 0
    assert engine.replicas == 4
    swarm.start(1)
    assert engine.replicas == 5
    assert len(engine.hosts) == 4
    assert engine.killed == []


def test_more_are_started_beside_one_that_goes(engine: SwarmFake, swarm: Swarm) -> None:
    """What has ended is taken off in the same update."""
    engine.scale(2)
    goes, stays = engine.hosts
    swarm.drain([on(goes)])
    engine.end(goes)
    swarm.start(2)
    assert engine.replicas == 3
    assert engine.killed == []
    assert swarm.starting([on(stays)]) == 2


def test_a_drained_worker_that_dies_is_replaced(engine: SwarmFake, swarm: Swarm) -> None:
    """By Swarm, as it is told to: then nothing is left to be lowered."""
    engine.scale(2)
    goes, stays = engine.hosts
    swarm.drain([on(goes)])
    engine.end(goes, 137)
    assert swarm.starting([on(stays)]) == 1
    assert engine.replicas == 2
    assert LEAVING not in engine.spec["Labels"]


def test_an_update_that_comes_second_is_done_again(engine: SwarmFake, swarm: Swarm) -> None:
    """Of what the service is by then."""
    engine.meanwhile("POST .*/update", lambda: engine.scale(5))
    swarm.start(1)
    assert engine.replicas == 6


def test_a_service_that_others_go_on_changing(engine: SwarmFake, swarm: Swarm) -> None:
    """Is told of after three tries."""
    for number in range(3):
        engine.meanwhile("POST .*/update", lambda number=number: engine.scale(5 + number))  # type: ignore[misc]
    with pytest.raises(ActuatorError, match="cannot update service farm_worker: others go on changing it"):
        swarm.start(1)
    assert engine.replicas == 7


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        (("Mode",), {"Global": {}}, "is not replicated"),
        (
            ("TaskTemplate", "RestartPolicy"),
            {"Condition": "any"},
            r"set deploy\.restart_policy\.condition to on-failure",
        ),
        (("TaskTemplate", "RestartPolicy"), None, r"set deploy\.restart_policy\.condition to on-failure"),
        (("TaskTemplate", "ContainerSpec", "Hostname"), "worker", "leave hostname out"),
    ],
)
def test_a_service_that_cannot_be_drained_is_refused(
    engine: SwarmFake, swarm: Swarm, registry: Draining, part: tuple[str, ...], value: Any, message: str
) -> None:
    """By name, and before any worker is told."""
    goes = engine.hosts[0]
    *path, last = part
    of = engine.spec
    for name in path:
        of = of[name]
    of[last] = value
    with pytest.raises(ActuatorError, match=rf"service {SERVICE} .*{message}"):
        swarm.drain([on(goes)])
    assert registry.told == []


@pytest.mark.parametrize(("status", "message"), [(404, "service farm_worker not found"), (503, "not a swarm manager")])
def test_an_engine_that_refuses_is_told_of(engine: SwarmFake, swarm: Swarm, status: int, message: str) -> None:
    """With what it said."""
    engine.fail("GET .*/services/", status, {"message": message})
    with pytest.raises(ActuatorError, match=f"cannot inspect service farm_worker: {status} {message}"):
        swarm.start(1)
    engine.fail("POST .*/update", 500, {"message": "rpc error: no leader"})
    with pytest.raises(ActuatorError, match="cannot update service farm_worker: 500 rpc error: no leader"):
        swarm.start(1)
