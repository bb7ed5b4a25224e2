"""A Docker Engine as far as containers go: what it answers, and what it does, as its API documents it."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any

from exchange import Fake, Refusal, Reply, Request

PROJECT, SERVICE = "farm", "worker"


def refuse(status: int, message: str) -> Refusal:
    return Refusal(status, {"message": message})


@dataclass
class EngineFake(Fake):
    """Containers by their ids, as `GET /containers/{id}/json` tells them."""

    version: str = "1.51"
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    networks: tuple[str, ...] = ("farm_default", "farm_store")
    ids: itertools.count[int] = field(default_factory=itertools.count)

    def answer(self, request: Request) -> Reply:
        if request.path == "/version":
            return Reply(200, {"ApiVersion": self.version, "MinAPIVersion": "1.24", "Version": "28.0.0"})
        prefix = f"/v{self.version}/"
        if not request.path.startswith(prefix):
            raise refuse(400, f"client version is not {self.version}: {request.path}")
        if request.body is not None and request.headers.get("content-type") != "application/json":
            raise refuse(400, "Content-Type is not application/json")
        route = f"{request.method} {request.path.removeprefix(prefix)}"
        return self.act(route, request)

    def act(self, route: str, request: Request) -> Reply:
        if route == "GET containers/json":
            return Reply(200, self._listed(request))
        if route == "POST containers/create":
            return Reply(201, {"Id": self.create(request.query["name"], request.body)["Id"], "Warnings": []})
        if match := re.fullmatch(r"POST networks/([\w-]+)/connect", route):
            return self._connect(match[1], request.body)
        if match := re.fullmatch(r"(GET|POST|DELETE) containers/(\w+)(?:/(\w+))?", route):
            if match[2] not in self.containers:
                raise refuse(404, f"No such container: {match[2]}")
            return self._of_container(f"{match[1]} {match[3] or ''}".strip(), self.containers[match[2]], request)
        raise refuse(404, "page not found")

    def _listed(self, request: Request) -> list[dict[str, Any]]:
        wanted = json.loads(request.query["filters"])["label"]
        return [
            {
                "Id": one["Id"],
                "Names": [one["Name"]],
                "State": one["State"]["Status"],
                "Labels": one["Config"]["Labels"],
                "Image": one["Config"]["Image"],
            }
            for one in self.containers.values()
            if request.query.get("all") in ("1", "true") or one["State"]["Status"] == "running"
            if all(label in {f"{key}={value}" for key, value in one["Config"]["Labels"].items()} for label in wanted)
        ]

    def _of_container(self, route: str, container: dict[str, Any], request: Request) -> Reply:
        state = container["State"]
        match route:
            case "GET json":
                return Reply(200, container)
            case "POST start":
                if state["Status"] == "running":
                    return Reply(304)
                state["Status"] = "running"
                return Reply(204)
            case "POST update":
                container["HostConfig"].update(request.body)
                return Reply(200, {"Warnings": []})
            case "POST rename":
                self._claim(request.query["name"])
                container["Name"] = "/" + request.query["name"]
                return Reply(204)
            case "DELETE":
                if state["Status"] == "running":
                    raise refuse(409, "cannot remove container: container is running")
                del self.containers[container["Id"]]
                return Reply(204)
        raise refuse(404, "page not found")

    def _claim(self, name: str) -> None:
        for other in self.containers.values():
            if other["Name"] == "/" + name:
                raise refuse(409, f'Conflict. The container name "/{name}" is already in use by "{other["Id"]}".')

    def create(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """A container as it is described; it does not run yet."""
        self._claim(name)
        endpoints = told["NetworkingConfig"]["EndpointsConfig"]
        if len(endpoints) > 1 and float(self.version) < 1.44:
            raise refuse(400, f"Container cannot be connected to network endpoints: {', '.join(endpoints)}")
        container_id = hashlib.sha256(str(next(self.ids)).encode()).hexdigest()
        config = {key: value for key, value in told.items() if key not in ("HostConfig", "NetworkingConfig")}
        self.containers[container_id] = {
            "Id": container_id,
            "Name": "/" + name,
            "Image": told["Image"] if told["Image"].startswith("sha256:") else "sha256:1234",
            "Config": {"Hostname": container_id[:12], **config},
            "HostConfig": told["HostConfig"],
            "NetworkSettings": {"Networks": {}},
            "State": {"Status": "created", "ExitCode": 0},
        }
        for network, endpoint in endpoints.items():
            self._connect(network, {"Container": container_id, "EndpointConfig": endpoint})
        return self.containers[container_id]

    def _connect(self, network: str, told: dict[str, Any]) -> Reply:
        if network not in self.networks:
            raise refuse(404, f"network {network} not found")
        container = self.containers[told["Container"]]
        given = told["EndpointConfig"] or {}
        container["NetworkSettings"]["Networks"][network] = {
            "Aliases": [*(given.get("Aliases") or []), container["Id"][:12]],
            "Links": given.get("Links"),
            "DriverOpts": given.get("DriverOpts"),
            "IPAddress": "172.18.0.2",
            "MacAddress": "02:42:ac:12:00:02",
        }
        return Reply(200)

    def composed(self, number: int, state: str = "running", **config: Any) -> str:
        """A worker's container as `docker compose up` makes it; its id."""
        name = f"{PROJECT}-{SERVICE}-{number}"
        labels = {
            "com.docker.compose.project": PROJECT,
            "com.docker.compose.service": SERVICE,
            "com.docker.compose.oneoff": "False",
            "com.docker.compose.container-number": str(number),
            "com.docker.compose.config-hash": "abc",
        }
        described = {
            "Image": "farm/worker:latest",
            "Env": ["BROKER_URL=redis://broker:6379/0"],
            "Cmd": ["celery", "-A", "echo_tasks", "worker"],
            "Labels": labels,
            "MacAddress": "02:42:ac:12:00:02",
            "HostConfig": {
                "NetworkMode": "farm_default",
                "Binds": ["models:/models:ro"],
                "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
                "Memory": 1 << 30,
            },
            "NetworkingConfig": {"EndpointsConfig": {"farm_default": {"Aliases": [name, SERVICE]}}},
        }
        made = self.create(name, described | config)
        self._connect("farm_store", {"Container": made["Id"], "EndpointConfig": {"Aliases": [name, SERVICE]}})
        made["State"]["Status"] = state
        return str(made["Id"])

    def end(self, container_id: str, status: int = 0) -> None:
        """Have a container's process end; its restart policy decides what comes of it."""
        container = self.containers[container_id]
        policy = container["HostConfig"]["RestartPolicy"]["Name"]
        again = policy in ("always", "unless-stopped") or (policy == "on-failure" and status != 0)
        container["State"] = {"Status": "running" if again else "exited", "ExitCode": status}

    def by_name(self) -> dict[str, dict[str, Any]]:
        """Copies of the containers, by their names."""
        return {one["Name"].lstrip("/"): copy.deepcopy(one) for one in self.containers.values()}
