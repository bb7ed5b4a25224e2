"""Which actuator the settings name."""

from __future__ import annotations

from collections.abc import Callable

import redis

from autoscale.actuators import Actuator
from autoscale.actuators.none import Nobody
from autoscale.actuators.processes import Processes
from echo_tasks.errors import SettingsError
from echo_tasks.local.roster import WORKERS, Roster
from echo_tasks.registry import Registry
from echo_tasks.settings import Settings

_MAKERS: dict[str, Callable[[Settings, redis.Redis], Actuator]] = {
    "processes": lambda settings, broker: Processes(Roster(WORKERS, settings), Registry(broker)),
    "none": lambda settings, broker: Nobody(),
}


def made(settings: Settings, broker: redis.Redis) -> Actuator:
    """The actuator that SCALE_ACTUATOR names. Raises SettingsError."""
    if settings.scale_actuator not in _MAKERS:
        known = ", ".join(sorted(_MAKERS))
        raise SettingsError([f"SCALE_ACTUATOR={settings.scale_actuator!r} is not there; there are: {known}"])
    return _MAKERS[settings.scale_actuator](settings, broker)
