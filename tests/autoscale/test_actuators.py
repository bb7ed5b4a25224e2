"""Actuators by their names."""

from __future__ import annotations

import subprocess
import sys

import pytest
from processes import ROOT
from registry_fake import Draining

from autoscale.actuators.assembly import ACTUATORS, make
from echo_tasks.errors import SettingsError
from echo_tasks.settings import load


@pytest.mark.parametrize("name", ["docker", "kubernetes"])
def test_an_actuator_is_made_without_its_platform(name: str, registry: Draining) -> None:
    """A controller starts before what it talks to."""
    assert callable(make(name, load({}), registry).start)


def test_an_unknown_name_is_refused_with_those_there_are(registry: Draining) -> None:
    """As every name that is chosen."""
    with pytest.raises(SettingsError, match=r"actuator 'nomad' is not allowed; allowed: .*docker or kubernetes"):
        make("nomad", load({}), registry)


def test_a_missing_library_is_named_with_its_remedy() -> None:
    """Docker's SDK comes with an extra of ours; without it nothing else suffers."""
    program = (
        "import sys; sys.modules['docker'] = None\n"
        "from autoscale.actuators.assembly import make\n"
        "from echo_tasks.settings import load\n"
        "make('docker', load({}), None)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    told = "actuator 'docker' needs 'docker', which is not installed: pip install 'deep-tree-echo[docker]'"
    assert told in done.stderr


def test_every_actuator_has_its_libraries_in_an_extra_or_needs_none() -> None:
    """Named as the actuator is."""
    assert {"docker", "kubernetes"} <= set(ACTUATORS)
    extras = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1]
    for name in ("docker", "kubernetes"):
        assert f"\n{name} = [" in extras
