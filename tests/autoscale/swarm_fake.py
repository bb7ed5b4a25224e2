"""A Docker Engine as the manager of a Swarm: a service, its tasks, and an orchestrator as swarmkit's."""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from engine_fake import EngineFake, refuse
from exchange import Reply, Request

SERVICE = "farm_worker"

ID = "9mnpnzenvg8p8tdbtq4wvbkcz"


@dataclass
class SwarmFake(EngineFake):
    """One replicated service over some nodes. `killed` are the hosts of running tasks that Swarm has removed."""

    nodes: tuple[str, ...] = ("node-a",)
    spec: dict[str, Any] = field(default_factory=dict)
    index: int = 10
    tasks: list[dict[str, Any]] = field(default_factory=list)
    killed: list[str] = field(default_factory=list)
    replaced: int = 0

    def __post_init__(self) -> None:
        self.spec = self.spec or {
            "Name": SERVICE,
            "Labels": {"com.docker.stack.namespace": "farm"},
            "TaskTemplate": {
                "ContainerSpec": {"Image": "farm/worker:1@sha256:12", "Env": ["ECHO_SLOTS=8"], "Isolation": "default"},
                "RestartPolicy": {"Condition": "on-failure", "MaxAttempts": 0},
                "ForceUpdate": 0,
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "EndpointSpec": {"Mode": "vip"},
        }
        self.reconcile()

    def act(self, route: str, request: Request) -> Reply:
        if route == f"GET services/{SERVICE}":
            told = copy.deepcopy(self.spec)
            if request.query.get("insertDefaults") == "true":
                told["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] = 10_000_000_000
            return Reply(200, {"ID": ID, "Version": {"Index": self.index}, "Spec": told})
        if route == "GET tasks" and SERVICE in json.loads(request.query["filters"])["service"]:
            return Reply(200, self.tasks)
        if route == f"POST services/{ID}/update":
            if int(request.query["version"]) != self.index:
                raise refuse(500, "rpc error: code = Unknown desc = update out of sequence")
            self.change(request.body)
            return Reply(200, {"Warnings": None})
        raise refuse(404, f"service {request.path} not found")

    def change(self, spec: dict[str, Any]) -> None:
        """A new specification; tasks of another template would all be replaced."""
        self.replaced += spec["TaskTemplate"] != self.spec["TaskTemplate"]
        self.spec = copy.deepcopy(spec)
        self.index += 1
        self.reconcile()

    def scale(self, replicas: int) -> None:
        """As `docker service scale`."""
        self.change({**self.spec, "Mode": {"Replicated": {"Replicas": replicas}}})

    def reconcile(self) -> None:
        """As many tasks as replicas: those that completed and are not to be restarted count among them."""
        while len(self._held()) < self.spec["Mode"]["Replicated"]["Replicas"]:
            self._add()
        order = self._order()
        for task in order[self.spec["Mode"]["Replicated"]["Replicas"] :]:
            if task["Status"]["State"] == "running":
                self.killed.append(host_of(task))
            self.tasks.remove(task)

    def _held(self) -> list[dict[str, Any]]:
        return [task for task in self.tasks if task["Status"]["State"] in ("running", "preparing", "complete")]

    def _order(self) -> list[dict[str, Any]]:
        """The tasks in the order in which they are kept: running first, then by their number on their nodes."""
        held = sorted(self._held(), key=lambda task: task["Status"]["State"] != "running")
        numbers: Counter[str] = Counter()
        numbered = []
        for task in held:
            numbers[task["NodeID"]] += 1
            numbered.append((numbers[task["NodeID"]], task))
        return [task for _, task in sorted(numbered, key=lambda pair: pair[0])]

    def _add(self) -> None:
        load = Counter(task["NodeID"] for task in self.tasks if task["Status"]["State"] == "running")
        container = hashlib.sha256(f"task {next(self.ids)}".encode()).hexdigest()
        self.tasks.append(
            {
                "ID": container[:25],
                "NodeID": min(self.nodes, key=lambda node: load[node]),
                "DesiredState": "running",
                "Status": {"State": "running", "ContainerStatus": {"ContainerID": container}},
            }
        )

    def end(self, host: str, status: int = 0) -> None:
        """Have a task's process end."""
        (task,) = [task for task in self.tasks if host_of(task) == host]
        task["Status"]["State"] = "complete" if status == 0 else "failed"
        task["DesiredState"] = "shutdown"
        if status or self.spec["TaskTemplate"]["RestartPolicy"]["Condition"] == "any":
            self._add()

    @property
    def hosts(self) -> list[str]:
        """The hosts of the tasks that run."""
        return [host_of(task) for task in self.tasks if task["Status"]["State"] == "running"]

    @property
    def replicas(self) -> int:
        return int(self.spec["Mode"]["Replicated"]["Replicas"])


def host_of(task: dict[str, Any]) -> str:
    return str(task["Status"]["ContainerStatus"]["ContainerID"])[:12]
