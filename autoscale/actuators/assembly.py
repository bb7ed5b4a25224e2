"""The actuators by their names."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

from autoscale.actuators import Actuator
from echo_tasks.errors import SettingsError
from echo_tasks.settings import Settings

ACTUATORS = {
    "processes": "autoscale.actuators.processes:make",
    "docker": "autoscale.actuators.docker:make",
    "kubernetes": "autoscale.actuators.kubernetes:make",
    "none": "autoscale.actuators.none:make",
}
"""Named, not imported: each needs a library that comes with the extra of its name."""


class Drains(Protocol):
    """Of the registry, what actuators need."""

    def drain(self, node: str) -> bool:
        """Have a live worker take no new work, finish what it holds, and end; false when there is no such worker.

        Raises BrokerUnavailable.
        """


def make(name: str, settings: Settings, registry: Drains) -> Actuator:
    """The actuator of that name. Raises SettingsError for one that does not exist, or whose library is not there."""
    if name not in ACTUATORS:
        raise SettingsError([f"actuator {name!r} is not allowed; allowed: {' or '.join(ACTUATORS)}"])
    module, _, maker = ACTUATORS[name].partition(":")
    try:
        made: Actuator = getattr(import_module(module), maker)(settings, registry)
    except ModuleNotFoundError as error:
        library = str(error.name).partition(".")[0]
        line = f"actuator {name!r} needs {library!r}, which is not installed: pip install 'deep-tree-echo[{name}]'"
        raise SettingsError([line]) from error
    return made
