"""The stack of a Swarm: read by Docker's own loader, updated without a pause where there can be two of a service."""

from __future__ import annotations

import subprocess
from pathlib import Path

import known
import pytest
import yaml
from compose_files import AUTOSCALE, BASE, SWARM, docker_can, read
from processes import ROOT

SWARMS = read(BASE)["services"]
SINGLE = {"nginx", "broker", "store", "flower", "prometheus", "grafana", "jaeger"}

needs_stack = pytest.mark.skipif(not docker_can("stack", "config", "--help"), reason="no docker that knows stacks")


@needs_stack
@pytest.mark.parametrize("files", [[BASE], [BASE, SWARM], [BASE, SWARM, AUTOSCALE]], ids=["plain", "swarm", "scaled"])
def test_a_swarm_takes_the_stack(files: list[Path]) -> None:
    """Docker's own loader reads it as `docker stack deploy` would; each service of the base is there."""
    command = ["docker", "stack", "config", *(word for path in files for word in ("-c", str(path)))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(yaml.safe_load(done.stdout)["services"]) >= set(known.SERVICES)


@pytest.mark.parametrize("name", SWARMS)
def test_a_swarm_updates_one_by_one_and_goes_back(name: str) -> None:
    """What may be there twice starts anew before the old one goes; what has a volume or a port to itself, after."""
    deploy = SWARMS[name]["deploy"]
    is_single = name in SINGLE
    for told in (deploy["update_config"], deploy["rollback_config"]):
        assert told["parallelism"] == 1
        assert told["order"] == ("stop-first" if is_single else "start-first")
    assert deploy["update_config"]["failure_action"] == "rollback"
    assert ("node.role == manager" in deploy.get("placement", {}).get("constraints", [])) == is_single
    assert deploy["restart_policy"]["condition"] == ("on-failure" if name == "worker" else "any")
    binds = [one for one in SWARMS[name].get("volumes", []) if one["type"] == "bind"]
    assert is_single or not binds  # files of this folder are on its node alone
    assert all((ROOT / one["source"]).exists() for one in binds)
