"""Workers as containers of a Docker Engine: a service of a Compose project, or of a Swarm stack."""

from __future__ import annotations

from autoscale.actuators import Actuator
from autoscale.actuators.assembly import Drains
from autoscale.actuators.compose import Compose
from autoscale.actuators.docker_engine import DockerEngine
from autoscale.actuators.swarm import Swarm
from echo_tasks.settings import Settings


def make(settings: Settings, registry: Drains) -> Actuator:
    """The actuator for the service that the settings name. Connects to nothing yet."""
    engine = DockerEngine(settings.docker_host, settings.docker_cert_path)
    if settings.docker_mode == "swarm":
        return Swarm(engine, f"{settings.docker_project}_{settings.docker_service}", registry.drain)
    return Compose(engine, settings.docker_project, settings.docker_service, registry.drain)
