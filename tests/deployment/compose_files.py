"""The Compose files as Compose and a Swarm read them: merged, and with the variables' defaults."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import fast_yaml
import pytest
from processes import ROOT

BASE = ROOT / "docker-compose.yml"
OVERRIDE = ROOT / "docker-compose.override.yml"
AUTOSCALE = ROOT / "docker" / "autoscale.yaml"
SWARM = ROOT / "docker" / "swarm.yaml"
GPU = ROOT / "docker" / "gpu.yaml"

_REPLACED = {"command", "entrypoint", "test"}
"""Lists that a later file replaces; of all others it adds to what is there."""

Service = dict[str, Any]


def read(path: Path) -> dict[str, Any]:
    """A file by itself."""
    found: dict[str, Any] = _filled(fast_yaml.load(path.read_text()))
    return found


def merged(*paths: Path) -> dict[str, Any]:
    """Several, the later over the earlier."""
    whole: dict[str, Any] = {}
    for path in paths:
        whole = _over(whole, read(path))
    return whole


def environment(service: Service) -> dict[str, str]:
    """What its process finds: of its env_file, and over that what is said beside it."""
    lines = "\n".join((ROOT / name).read_text() for name in service.get("env_file", []))
    found = dict(re.findall(r"^(\w+)=(.*)$", lines, re.M))
    return found | {name: str(value) for name, value in service.get("environment", {}).items()}


def variables(path: Path) -> set[str]:
    """The variables that an operator may set for a file."""
    return set(re.findall(r"(?<!\$)\$\{(\w+)", path.read_text()))


def seconds(text: str) -> float:
    """A duration of the form 90s."""
    assert text.endswith("s"), text
    return float(text.removesuffix("s"))


def docker_can(*words: str) -> bool:
    """Whether there is a docker that knows a command; it needs no engine for those that only read."""
    docker = shutil.which("docker")
    return bool(docker) and subprocess.run([docker, *words], capture_output=True).returncode == 0


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _filled(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one) for one in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"(?<!\$)\$\{\w+:-([^}]*)\}", r"\1", value).replace("$$", "$")


def _over(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    whole = dict(below)
    for key, value in above.items():
        if key in whole and isinstance(value, list) and key not in _REPLACED:
            whole[key] = whole[key] + [one for one in value if one not in whole[key]]
        else:
            whole[key] = _over(whole[key], value) if key in whole else value
    return whole


needs_compose = pytest.mark.skipif(not docker_can("compose", "version"), reason="no plugin `docker compose`")

WHOLE = merged(BASE, OVERRIDE, AUTOSCALE)
SERVICES: dict[str, Service] = WHOLE["services"]
