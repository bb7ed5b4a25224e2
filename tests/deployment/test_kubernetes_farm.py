"""A farm of real processes with environment, commands and Secrets of the manifests: the probes find it well."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request

import known
import manifests
import pytest
import yaml
from manifests import Workload
from pod_server import started
from processes import ROOT, Running, Site, asked, free_port, until

pytestmark = [pytest.mark.farm, pytest.mark.timeout(240)]  # six processes start at once

PLAIN = manifests.plain()
SETTINGS = manifests.one(PLAIN, "ConfigMap", "settings")["data"]
WORKLOADS = {one.service: one for one in manifests.workloads(PLAIN)}
PORT_SETTINGS = {
    "api": "API_PORT",
    "worker": "WORKER_METRICS_PORT",
    "controller": "CONTROLLER_PORT",
    "exporter": "EXPORTER_PORT",
    "flower": "FLOWER_PORT",
}


def command(workload: Workload) -> list[str]:
    """Its arguments, or what its image runs without any: no image of ours has an entry point."""
    if given := workload.container.get("args"):
        return [str(word) for word in given]
    text = (ROOT / "docker" / "Dockerfile").read_text()
    stage = re.search(rf"^FROM \S+ AS {known.OURS[workload.service]}$(.+?)(?=^FROM |\Z)", text, re.M | re.S)
    assert stage
    (found,) = re.findall(r"^CMD (\[.+\])$", stage[1], re.M)
    return [str(word) for word in json.loads(found)]


@dataclass
class Cluster:
    """Where things are that a cluster has at fixed names: the servers' ports, the Secrets' folder."""

    folder: Path
    servers: dict[str, int]

    def __post_init__(self) -> None:
        printed = subprocess.run([manifests.FOLDER / "secrets.sh"], capture_output=True, text=True, check=True).stdout
        self.secrets = {it["metadata"]["name"]: it["stringData"] for it in yaml.safe_load_all(printed) if it}
        self.ports = {service: free_port() for service in PORT_SETTINGS}
        for secret, keys in self.secrets.items():
            (self.folder / secret).mkdir(exist_ok=True)
            for key, text in keys.items():
                (self.folder / secret / key).write_text(text)

    def here(self, text: str) -> str:
        """What a pod is told, as it is on this machine."""
        moved = text.replace("/run/secrets", str(self.folder)).replace("/var/lib/echo", str(self.folder / "var"))
        for server, port in self.servers.items():
            moved = moved.replace(f"//{server}:6379", f"//127.0.0.1:{port}")
        return moved

    def environment(self, workload: Workload) -> dict[str, str]:
        """Its pods' and its image's, with a port that is free."""
        own = {it["name"]: it["value"] for it in workload.container.get("env", [])}
        moved = {name: self.here(value) for name, value in (SETTINGS | own).items()}
        port = {PORT_SETTINGS[workload.service]: str(self.ports[workload.service])}
        return moved | port | {"PYTHONPATH": str(ROOT)}  # the image's, for its folder

    def status(self, service: str, path: str) -> int:
        return asked(f"http://127.0.0.1:{self.ports[service]}{path}", 5)[0]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Cluster, dict[str, Running]]]:
    """All of it, running."""
    with ExitStack() as farm:
        made = Cluster(tmp_path, {})
        for role in ("broker", "store"):
            (tmp_path / f"of-{role}").mkdir()
            client, _ = farm.enter_context(started(role, tmp_path / f"of-{role}", made.secrets[role]["password"]))
            made.servers[role] = client.get_connection_kwargs()["port"]
        site = Site(tmp_path)
        running = {
            service: farm.enter_context(site.run(service, *command(workload), env=made.environment(workload)))
            for service, workload in WORKLOADS.items()
            if service in known.OURS
        }
        yield made, running


def test_every_probe_finds_it_well_and_a_job_is_answered(cluster: tuple[Cluster, dict[str, Running]]) -> None:
    """Started, ready, alive, each process by its own probes; then the first key opens the API, and no key does not."""
    made, running = cluster
    for service, process in running.items():
        for kind, probe in WORKLOADS[service].probes():
            path = probe["httpGet"]["path"]
            within_s = probe["periodSeconds"] * probe["failureThreshold"] if kind == "startup" else 20
            until(lambda: made.status(service, path) == 200 or process.process.poll() is not None, path, within_s)  # noqa: B023
            assert process.process.poll() is None, process.text()
    address = f"http://127.0.0.1:{made.ports['api']}/api/cognitive/process"
    body = json.dumps({"input_text": "What is two plus three?"}).encode()
    headers = {"Content-Type": "application/json"}
    assert asked(Request(address, body, headers))[0] == 401
    headers["Authorization"] = f"Bearer {made.secrets['api']['admin-key']}"
    status, answer = asked(Request(address, body, headers), 60)
    assert status == 200, answer
    assert "5" in json.loads(answer)["response_text"]
    words = [word for secret in made.secrets.values() for text in secret.values() for word in text.split(":")[-1:]]
    logs = "".join(process.text() for process in running.values())
    assert not [word for word in words if word in logs]
    for service, process in running.items():
        assert process.stop(within_s=WORKLOADS[service].pod["terminationGracePeriodSeconds"]) == 0, process.text()
