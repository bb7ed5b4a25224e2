"""The stack of a Swarm: read by Docker's own loader, updated without a pause where there can be two of a service."""

from __future__ import annotations

import subprocess
from pathlib import Path

import fast_yaml
import known
import pytest
from compose_files import AUTOSCALE, BASE, SERVICES, SWARM, docker_can, read
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
    told = fast_yaml.load(done.stdout)
    assert set(told["services"]) >= set(known.SERVICES)
    assert {name for name, one in told["networks"].items() if not one.get("internal")} == {"edge"}


def test_encrypted_networks_are_as_closed_as_plain_ones() -> None:
    """Docker takes a network from the last file that names it, and nothing of it from those before."""
    plain, encrypted = (read(path)["networks"] for path in (BASE, SWARM))
    assert encrypted.keys() == plain.keys()
    for name, one in encrypted.items():
        assert "encrypted" in one["driver_opts"]
        assert one.get("internal", False) == plain[name].get("internal", False)


@pytest.mark.parametrize("name", SWARMS)
def test_a_swarm_updates_one_by_one_and_goes_back(name: str) -> None:
    """What may be there twice starts anew before the old one goes; what has a volume or a port to itself, after."""
    deploy = SWARMS[name]["deploy"]
    is_single = name in SINGLE
    for told in (deploy["update_config"], deploy["rollback_config"]):
        assert told["parallelism"] == 1
        assert told["order"] == ("stop-first" if is_single else "start-first")
    assert deploy["update_config"]["failure_action"] == "rollback"
    assert ("node.labels.echo-home == true" in deploy.get("placement", {}).get("constraints", [])) == is_single
    assert deploy["restart_policy"]["condition"] == ("on-failure" if name == "worker" else "any")
    binds = [one for one in SWARMS[name].get("volumes", []) if one["type"] == "bind"]
    assert is_single or not binds  # files of this folder are on its node alone
    assert all((ROOT / one["source"]).exists() for one in binds)


def test_the_node_with_the_volumes_is_named_before_the_stack_is_deployed() -> None:
    """By the label that the services ask for, in the recipe: without it none of them would start."""
    recipe = (ROOT / "docker" / "README.md").read_text().split("## Swarm", 1)[1]
    assert 0 < recipe.index("docker node update --label-add echo-home=true") < recipe.index("docker stack deploy")


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_says_once_when_it_starts_again(name: str) -> None:
    """Compose passes over `restart` where there is a policy of `deploy`, which a Swarm reads, too."""
    assert ("restart" in SERVICES[name]) != ("restart_policy" in SERVICES[name]["deploy"])
