"""Workers as the tasks of one replicated service of a Swarm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from docker.errors import create_api_error_from_http_exception
from requests.exceptions import HTTPError

from autoscale.actuators import Actuator, host
from autoscale.actuators.attempts import each
from autoscale.actuators.docker_engine import DockerEngine
from autoscale.observation import Instance
from echo_tasks import logs
from echo_tasks.errors import ActuatorError

LEAVING = "deep-tree-echo.draining"
"""Label of the service: the hosts of the tasks that are to go, so that another controller knows them, too."""

OVER = frozenset({"complete", "failed", "shutdown", "rejected", "remove", "orphaned"})

MOST_TRIES = 3

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """A task: its container's host name once it has one, its node, its state, and whether it is to run."""

    host: str
    node: str
    state: str
    is_wanted: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the service is told: how many replicas, and the hosts of those that are to go."""

    replicas: int
    leaving: frozenset[str]


class Swarm(Actuator):
    """Changes the service's number of replicas, and lowers it only by tasks that have ended.

    Swarm cannot be told which tasks to stop. But a task whose worker has drained and ended with status 0 stays
    `complete` where the service restarts on failure alone, which is asked for here; and of the tasks it has, Swarm
    removes first those on the node with most of them, and of these first what does not run. So the number is lowered
    as soon as that meets nobody who works; until then the task that is over costs nothing.
    """

    def __init__(self, engine: DockerEngine, service: str, drain: Callable[[str], bool]) -> None:
        self._engine = engine
        self._service = service
        self._drain = drain

    def starting(self, live: Sequence[Instance]) -> int:
        """Replicas that are wanted and have not announced themselves."""
        wanted, tasks = self._change(settled)
        announced = {host(instance.node) for instance in live} - wanted.leaving
        here = sum(task.is_wanted and task.host in announced for task in tasks)
        return max(0, wanted.replicas - len(wanted.leaving) - here)

    def start(self, count: int) -> None:
        """Have so many more replicas."""
        self._change(lambda wanted, tasks: _more(settled(wanted, tasks), count))

    def drain(self, instances: Sequence[Instance]) -> None:
        """Have these workers end by themselves, and their tasks not be replaced."""
        hosts = {host(instance.node) for instance in instances}
        self._change(lambda wanted, tasks: _without(settled(wanted, tasks), hosts, tasks), is_draining=True)
        each(f"drain {len(instances)} workers", instances, lambda instance: self._drain(instance.node))

    def _change(
        self, change: Callable[[Wanted, Sequence[Task]], Wanted], *, is_draining: bool = False
    ) -> tuple[Wanted, list[Task]]:
        """Have the service as the function says, of what it is; again of what it is then, where another was faster."""
        for _ in range(MOST_TRIES):
            with self._engine.asked_to(f"inspect service {self._service}") as client:
                service = client.inspect_service(self._service)
                tasks = [_task(one) for one in client.tasks(filters={"service": self._service})]
            spec = service["Spec"]
            self._check(spec, is_draining=is_draining)
            before = _wanted(spec)
            after = change(before, tasks)
            if after == before or self._update(service, after):
                return after, tasks
        raise ActuatorError(f"Docker Engine: cannot update service {self._service}: others go on changing it")

    def _update(self, service: dict[str, Any], wanted: Wanted) -> bool:
        """Whether the service was as it had been read. Nothing but number and label changes, so that no task does."""
        spec = service["Spec"]
        labels = {name: value for name, value in (spec.get("Labels") or {}).items() if name != LEAVING}
        if wanted.leaving:
            labels[LEAVING] = ",".join(sorted(wanted.leaving))
        told = {**spec, "Labels": labels, "Mode": {"Replicated": {"Replicas": wanted.replicas}}}
        with self._engine.asked_to(f"update service {self._service}") as client:
            # Not by the SDK's update_service: it would send defaults for what the service leaves open, and every
            # task would be replaced by one that is told them.
            reply = client.post(
                f"{client.base_url}/v{client.api_version}/services/{service['ID']}/update",
                params={"version": service["Version"]["Index"]},
                json=told,
                timeout=client.timeout,
            )
            if "out of sequence" in reply.text:
                return False
            try:
                reply.raise_for_status()
            except HTTPError as error:
                create_api_error_from_http_exception(error)
        log.info("service updated", service=self._service, replicas=wanted.replicas, draining=len(wanted.leaving))
        return True

    def _check(self, spec: dict[str, Any], *, is_draining: bool) -> None:
        template = spec["TaskTemplate"]
        problem = None
        if "Replicated" not in spec["Mode"]:
            problem = "is not replicated"
        elif template["ContainerSpec"].get("Hostname"):
            problem = "fixes its host name: leave hostname out, so that workers are told apart by their containers"
        elif is_draining and (template.get("RestartPolicy") or {}).get("Condition") != "on-failure":
            problem = "restarts workers that have drained: set deploy.restart_policy.condition to on-failure"
        if problem:
            raise ActuatorError(f"Docker Engine: service {self._service} {problem}")


def settled(wanted: Wanted, tasks: Sequence[Task]) -> Wanted:
    """The number lowered by the tasks that have drained, as far as Swarm would remove these and no others."""
    known = {task.host for task in tasks if task.is_wanted or task.state == "complete"}
    done = [task for task in tasks if task.host in wanted.leaving and task.state == "complete"]
    gone = _removed_first(done, [task for task in tasks if task.is_wanted and task not in done])
    leaving = (wanted.leaving & known) - gone
    return Wanted(wanted.replicas - len(gone), leaving)


def _removed_first(done: Sequence[Task], others: Sequence[Task]) -> set[str]:
    """The hosts of those among the ended tasks that come before all others when Swarm removes some.

    It numbers the tasks of each node, those that run first, and removes the highest numbers.
    """
    numbers = Counter(task.node for task in others)
    highest = max(numbers.values(), default=0)
    gone = set()
    for task in done:
        numbers[task.node] += 1
        if numbers[task.node] > highest:
            gone.add(task.host)
    return gone


def _more(wanted: Wanted, count: int) -> Wanted:
    return replace(wanted, replicas=wanted.replicas + count)


def _without(wanted: Wanted, hosts: Collection[str], tasks: Sequence[Task]) -> Wanted:
    mine = {task.host for task in tasks if task.is_wanted} & set(hosts)
    return replace(wanted, leaving=wanted.leaving | mine)


def _wanted(spec: dict[str, Any]) -> Wanted:
    marked = (spec.get("Labels") or {}).get(LEAVING, "")
    return Wanted(int(spec["Mode"]["Replicated"].get("Replicas", 1)), frozenset(filter(None, marked.split(","))))


def _task(told: dict[str, Any]) -> Task:
    status = told["Status"]
    container = (status.get("ContainerStatus") or {}).get("ContainerID") or ""
    is_wanted = told["DesiredState"] == "running" and status["State"] not in OVER
    return Task(container[:12], told.get("NodeID", ""), status["State"], is_wanted)
