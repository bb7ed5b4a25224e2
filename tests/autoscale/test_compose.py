"""Workers as containers of a Compose project, on an engine that speaks Docker's API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine_fake import PROJECT, SERVICE, EngineFake
from exchange import served
from registry_fake import Draining, on

from autoscale.actuators.assembly import make
from autoscale.actuators.compose import Compose
from autoscale.actuators.docker_engine import DockerEngine
from autoscale.observation import Instance
from echo_tasks.errors import ActuatorError
from echo_tasks.settings import load


@pytest.fixture
def engine() -> EngineFake:
    return EngineFake()


@contextmanager
def acting(engine: EngineFake, registry: Draining, timeout_s: float = 5) -> Iterator[Compose]:
    with served(engine) as address:
        docker = DockerEngine(f"tcp://{address}", timeout_s=timeout_s)
        yield Compose(docker, PROJECT, SERVICE, registry.drain)
        docker.close()


@pytest.fixture
def compose(engine: EngineFake, registry: Draining) -> Iterator[Compose]:
    with acting(engine, registry) as compose:
        yield compose


def worker(container_id: str) -> Instance:
    """The worker in a container."""
    return on(container_id[:12])


def test_a_copy_is_like_the_others(engine: EngineFake, compose: Compose) -> None:
    """Its image, environment, mounts, limits, policy and networks are theirs; name, number and addresses its own."""
    engine.composed(1)
    compose.start(1)
    old, new = (engine.by_name()[f"{PROJECT}-{SERVICE}-{number}"] for number in (1, 2))
    assert new["State"]["Status"] == "running"
    assert new["HostConfig"] == old["HostConfig"]
    number = {"com.docker.compose.container-number": "2"}
    assert new["Config"]["Labels"] == old["Config"]["Labels"] | number
    assert (new["Config"]["Env"], new["Config"]["Cmd"]) == (old["Config"]["Env"], old["Config"]["Cmd"])
    assert new["Image"] == old["Image"]
    assert new["Config"]["Hostname"] == new["Id"][:12]
    assert "MacAddress" not in new["Config"]
    for network in engine.networks:
        aliases = new["NetworkSettings"]["Networks"][network]["Aliases"]
        assert aliases == [f"{PROJECT}-{SERVICE}-2", SERVICE, new["Id"][:12]]


def test_the_requests_are_dockers(engine: EngineFake, compose: Compose) -> None:
    """In the engine's own version of the API, and in this order; the second network by a request of its own."""
    engine.version = "1.43"
    engine.composed(1)
    compose.start(1)
    made = engine.by_name()[f"{PROJECT}-{SERVICE}-2"]["Id"]
    acts = [request for request in engine.asked if request.method == "POST"]
    assert [str(request) for request in acts] == [
        "POST /v1.43/containers/create",
        "POST /v1.43/networks/farm_store/connect",
        f"POST /v1.43/containers/{made}/start",
    ]
    assert acts[0].query == {"name": f"{PROJECT}-{SERVICE}-2"}
    assert [*acts[0].body["NetworkingConfig"]["EndpointsConfig"]] == ["farm_default"]
    assert acts[1].body["Container"] == made


def test_several_are_started_at_once(engine: EngineFake, compose: Compose) -> None:
    """Those that have stopped first; numbers go on from the highest."""
    engine.composed(1)
    stopped = engine.composed(4, "exited")
    compose.start(3)
    states = {name: one["State"]["Status"] for name, one in engine.by_name().items()}
    assert states == {f"{PROJECT}-{SERVICE}-{number}": "running" for number in (1, 4, 5, 6)}
    assert engine.asked_for(f"POST .*/{stopped}/start")


def test_what_is_starting_has_not_announced_itself(engine: EngineFake, compose: Compose) -> None:
    """Running, restarting or created, and none of the live; what has ended or is to go does not count."""
    first = engine.composed(1)
    engine.composed(2)
    engine.composed(3, "created")
    engine.composed(4, "restarting")
    engine.composed(5, "exited")
    assert compose.starting([]) == 4
    assert compose.starting([worker(first), worker("0123456789abcdef")]) == 3


def test_a_drained_worker_ends_by_itself_and_is_removed_then(
    engine: EngineFake, compose: Compose, registry: Draining
) -> None:
    """No signal is sent, its policy does not start it again, and the next look takes it away."""
    stays, goes = engine.composed(1), engine.composed(2)
    compose.drain([worker(goes)])
    assert registry.told == [worker(goes).node]
    assert compose.starting([worker(stays)]) == 0, "what drains is not starting"
    assert engine.containers[goes]["State"]["Status"] == "running"
    assert engine.containers[goes]["Name"] == f"/{PROJECT}-{SERVICE}-2-draining"
    engine.end(goes)
    assert compose.starting([worker(stays)]) == 0
    assert [*engine.containers] == [stays]
    assert not engine.asked_for("(stop|kill)$")
    (removed,) = engine.asked_for("^DELETE")
    assert "force" not in removed.query or removed.query["force"] == "False"


def test_a_controller_that_is_new_takes_up_what_another_had_drain(engine: EngineFake, registry: Draining) -> None:
    """The mark is the container's."""
    engine.composed(1)
    goes = engine.composed(2)
    with acting(engine, registry) as first:
        first.drain([worker(goes)])
    engine.end(goes, 1)
    with acting(engine, registry) as second:
        second.start(1)
    assert goes not in engine.containers
    assert sorted(engine.by_name()) == [f"{PROJECT}-{SERVICE}-{number}" for number in (1, 2)]


def test_draining_twice_is_draining_once(engine: EngineFake, compose: Compose, registry: Draining) -> None:
    """The registry may have forgotten: it is told again, the engine is not."""
    engine.composed(1)
    goes = engine.composed(2)
    compose.drain([worker(goes)])
    compose.drain([worker(goes)])
    assert len(registry.told) == 2
    assert len(engine.asked_for("rename$")) == 1


def test_a_worker_that_runs_elsewhere_is_drained_all_the_same(compose: Compose, registry: Draining) -> None:
    """By the registry alone: it ends by itself."""
    compose.drain([Instance("by-hand@laptop", 8, 0, 0)])
    assert registry.told == ["by-hand@laptop"]


def test_a_name_that_is_taken_meanwhile_is_passed_over(engine: EngineFake, compose: Compose) -> None:
    """Another controller, or an operator, was faster."""
    engine.composed(1)
    engine.meanwhile("POST .*/create", lambda: engine.composed(2))
    compose.start(1)
    assert sorted(engine.by_name()) == [f"{PROJECT}-{SERVICE}-{number}" for number in (1, 2, 3)]


def test_half_a_success_is_told_and_shows_in_the_next_look(engine: EngineFake, compose: Compose) -> None:
    """One of three does not start: two are there, the error says why, and the next start begins with the third."""
    engine.composed(1)
    engine.fail("POST .*/start", 500, {"message": "driver failed: port is already allocated"})
    with pytest.raises(ActuatorError, match=r"1 of 3 failed: .*cannot start container farm-worker-2: 500 driver"):
        compose.start(3)
    assert len(engine.containers) == 4
    assert compose.starting([]) == 4
    compose.start(1)
    assert len(engine.containers) == 4
    assert {one["State"]["Status"] for one in engine.containers.values()} == {"running"}


def test_one_that_cannot_be_marked_is_not_drained_and_others_are(
    engine: EngineFake, compose: Compose, registry: Draining
) -> None:
    """Its policy would start it again."""
    engine.composed(1)
    first, second = engine.composed(2), engine.composed(3)
    engine.fail("POST .*/update", 500, {"message": "cannot update"})
    with pytest.raises(ActuatorError, match=r"drain 2 workers: 1 of 2 failed: .*farm-worker-2: 500 cannot update"):
        compose.drain([worker(first), worker(second)])
    assert registry.told == [worker(second).node]


def test_a_registry_that_is_away_is_an_error_too(engine: EngineFake, compose: Compose, registry: Draining) -> None:
    """As every failure of an actuator."""
    registry.is_away = True
    with pytest.raises(ActuatorError, match="does not answer"):
        compose.drain([worker(engine.composed(1))])


def test_removing_what_is_gone_already_is_no_error(engine: EngineFake, compose: Compose) -> None:
    """Another controller was faster; one that cannot be removed is told of."""
    stays, goes = engine.composed(1), engine.composed(2)
    compose.drain([worker(goes)])
    engine.end(goes)
    engine.fail("DELETE", 409, {"message": "removal is already in progress"})
    with pytest.raises(ActuatorError, match="removal is already in progress"):
        compose.starting([])
    engine.fail("DELETE", 404, {"message": "No such container"})
    assert compose.starting([worker(stays)]) == 0


def test_there_must_be_one_to_copy(engine: EngineFake, compose: Compose) -> None:
    """Which docker compose makes."""
    with pytest.raises(ActuatorError, match=r"service worker of project farm has no container to copy: .*compose up"):
        compose.start(1)


def test_a_fixed_host_name_is_refused(engine: EngineFake, compose: Compose) -> None:
    """Two workers of one name would be one to the farm."""
    engine.composed(1, Hostname="worker")
    with pytest.raises(ActuatorError, match="farm-worker-1 has the fixed host name 'worker': leave hostname"):
        compose.start(1)
    assert len(engine.containers) == 1


def test_containers_of_others_are_left_alone(engine: EngineFake, compose: Compose) -> None:
    """Other services, other projects, and one-off runs of the service."""
    for label, value in (("project", "other"), ("service", "api"), ("oneoff", "True")):
        other = engine.containers[engine.composed(7)]
        other["Config"]["Labels"][f"com.docker.compose.{label}"] = value
        other["Name"] = f"/{label}"
    assert compose.starting([]) == 0


def test_an_engine_that_is_slow_or_away_is_told_as_such(engine: EngineFake, registry: Draining) -> None:
    """And found again when it is back."""
    engine.composed(1)
    with acting(engine, registry, timeout_s=0.3) as compose:
        engine.delay("containers/json", 1)
        with pytest.raises(ActuatorError, match=r"Docker Engine: cannot list containers: .*timed out"):
            compose.starting([])
        assert compose.starting([]) == 1
    away = Compose(DockerEngine("tcp://127.0.0.1:9"), PROJECT, SERVICE, registry.drain)
    with pytest.raises(ActuatorError, match=r"Docker Engine: cannot list containers: .*refused"):
        away.starting([])


def test_the_settings_name_socket_project_and_service(engine: EngineFake, registry: Draining, tmp_path: Path) -> None:
    """The actuator `docker` over a socket, as Docker has it by default."""
    container = engine.composed(1)
    env = {"DOCKER_PROJECT": PROJECT, "DOCKER_SERVICE": SERVICE, "DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}
    with served(engine, tmp_path / "docker.sock"):
        actuator = make("docker", load(env), registry)
        assert isinstance(actuator, Compose)
        assert actuator.starting([worker(container)]) == 0
        actuator.start(2)
        assert actuator.starting([worker(container)]) == 2
        actuator._engine.close()
