"""Workers as the containers of one service of a Compose project."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from docker.errors import NotFound

from autoscale.actuators import Actuator, host
from autoscale.actuators.attempts import each
from autoscale.actuators.copies import NUMBER, Copy, like
from autoscale.actuators.docker_engine import DockerEngine
from autoscale.observation import Instance
from echo_tasks import logs
from echo_tasks.errors import ActuatorError

LEAVING = "-draining"
"""What the name of a container that is to go ends with: it is seen in `docker ps`, and outlives the controller."""

MOST_NAMES = 5

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of the service, of whatever state: `created`, `running`, `restarting`, `exited`, …"""

    id: str
    name: str
    state: str
    number: int

    @property
    def host(self) -> str:
        """What it calls itself, unless it was told otherwise."""
        return self.id[:12]

    @property
    def is_leaving(self) -> bool:
        return self.name.endswith(LEAVING)


class Compose(Actuator):
    """Starts copies of the service's containers, and removes those whose workers have drained.

    A container that is to go is renamed, and loses its restart policy, before its worker is told: so the worker ends
    in its own time, by no signal, and is not started again. What has ended is removed by the next call, whichever
    it is. Containers must have the host names that Docker gives them, by which workers are told apart.
    """

    def __init__(self, engine: DockerEngine, project: str, service: str, drain: Callable[[str], bool]) -> None:
        self._engine = engine
        self._project, self._service = project, service
        self._drain = drain

    def starting(self, live: Sequence[Instance]) -> int:
        """Containers that run, or are about to, whose workers are not among the live ones."""
        announced = {host(instance.node) for instance in live}
        return sum(
            container.state in ("created", "running", "restarting") and container.host not in announced
            for container in self._kept()
        )

    def start(self, count: int) -> None:
        """Start containers that have stopped, and copies of one for the rest."""
        kept = self._kept()
        begun = [container for container in kept if container.state in ("created", "exited")][:count]
        copies = range(count - len(begun))
        each(f"start {count} containers", [*begun, *copies], self._start_or_copy)

    def drain(self, instances: Sequence[Instance]) -> None:
        """Have these workers end by themselves, and their containers not start again."""
        containers = {container.host: container for container in self._containers()}

        def drain(instance: Instance) -> None:
            if container := containers.get(host(instance.node)):
                self._mark(container)
            else:
                log.warning("drained worker is in no container of the service", node=instance.node)
            self._drain(instance.node)

        each(f"drain {len(instances)} workers", instances, drain)

    def _containers(self) -> list[Container]:
        labels = [
            f"com.docker.compose.project={self._project}",
            f"com.docker.compose.service={self._service}",
            "com.docker.compose.oneoff=False",
        ]
        with self._engine.asked_to("list containers") as client:
            found = client.containers(all=True, filters={"label": labels})
        return [
            Container(one["Id"], one["Names"][0].lstrip("/"), one["State"], int(one["Labels"].get(NUMBER, 0)))
            for one in found
        ]

    def _kept(self) -> list[Container]:
        """The containers that are to stay, once those that have drained are removed."""
        containers = self._containers()
        drained = [one for one in containers if one.is_leaving and one.state in ("created", "exited", "dead")]
        each("remove drained containers", drained, self._remove)
        return [container for container in containers if not container.is_leaving]

    def _remove(self, container: Container) -> None:
        with self._engine.asked_to(f"remove container {container.name}") as client:
            try:
                client.remove_container(container.id, v=True)
            except NotFound:
                return
        log.info("drained container removed", container=container.name)

    def _mark(self, container: Container) -> None:
        if container.is_leaving:
            return
        with self._engine.asked_to(f"take the restart policy of container {container.name}") as client:
            client.update_container(container.id, restart_policy={"Name": "no"})
        with self._engine.asked_to(f"rename container {container.name}") as client:
            client.rename(container.id, container.name + LEAVING)

    def _start_or_copy(self, one: Container | int) -> None:
        if isinstance(one, int):
            container_id, name = self._copy()
        else:
            container_id, name = one.id, one.name
        with self._engine.asked_to(f"start container {name}") as client:
            client.start(container_id)

    def _copy(self) -> tuple[str, str]:
        """A new container like the others, and its name. A name that another has taken meanwhile is passed over."""
        containers = self._containers()
        template = self._template(containers)
        first = max(container.number for container in containers) + 1
        for number in range(first, first + MOST_NAMES):
            name = f"{self._project}-{self._service}-{number}"
            if made := self._create(like(template, name, number), name):
                return made, name
        raise ActuatorError(f"Docker Engine: cannot create container {name}: that name and those before it are taken")

    def _create(self, copy: Copy, name: str) -> str | None:
        """The new container's id; None where there is one of that name."""
        try:
            with self._engine.asked_to(f"create container {name}") as client:
                made: str = client.create_container_from_config(copy.config, name)["Id"]
        except ActuatorError as error:
            if getattr(error.__cause__, "status_code", None) == HTTPStatus.CONFLICT:
                return None
            raise
        for network, endpoint in copy.more_networks.items():
            with self._engine.asked_to(f"connect container {name} to network {network}") as client:
                client.connect_container_to_network(made, network, **endpoint)
        return made

    def _template(self, containers: Sequence[Container]) -> Mapping[str, Any]:
        stay = [container for container in containers if not container.is_leaving]
        if not stay:
            told = f"service {self._service} of project {self._project} has no container to copy"
            raise ActuatorError(f"Docker Engine: {told}: start one by docker compose up")
        model = min(stay, key=lambda container: (container.state != "running", -container.number))
        with self._engine.asked_to(f"inspect container {model.name}") as client:
            found: dict[str, Any] = client.inspect_container(model.id)
        return found
