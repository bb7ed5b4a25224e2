"""What a deployment's files may name, as the project has it: settings, services, ports, paths, metrics, images."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import declared
from processes import ROOT

from echo_api import create_app
from echo_tasks.settings import Settings, load

SERVICES = (
    *("nginx", "api", "worker", "controller", "exporter", "broker", "store", "flower"),
    *("prometheus", "grafana", "jaeger"),
)
"""By the names that they have in Compose and Kubernetes, but for the workers' Deployment there."""

OURS = {"api": "api", "worker": "worker", "controller": "control", "exporter": "control", "flower": "control"}
"""The image of each service of ours, which is a target of docker/Dockerfile."""

VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
"""Of our images."""

USER = 10001
"""User and group of our images."""

WORKER_METRICS_PORT = 9807
"""In containers, where each worker has an address of its own."""

_default = load({})

PORTS = {
    "api": _default.api_port,
    "worker": WORKER_METRICS_PORT,
    "controller": _default.controller_port,
    "exporter": _default.exporter_port,
    "flower": _default.flower_port,
    "broker": _default.broker_port,
    "store": 6379,  # in a container of its own it has a server's usual port
    "prometheus": _default.prometheus_port,
    "grafana": 3000,
    "jaeger": 16686,
}
"""Where each service listens; what Jaeger takes traces on, besides, is 4318."""

_OTHERS_PATHS = {
    "flower": {"/healthcheck"},
    "prometheus": {"/-/healthy", "/-/ready"},
    "grafana": {"/api/health"},
    "jaeger": {"/status"},
    "celery-exporter": {"/health", "/metrics"},
}
_OURS_PATHS = {
    "worker": "workers/endpoint.py",
    "controller": "autoscale/health.py",
    "exporter": "monitoring/exporter/__main__.py",
}


def is_setting(name: str) -> bool:
    """Whether an environment variable is a setting of ours, or names the file of one."""
    return any(one.lower() in Settings.model_fields for one in (name, name.removesuffix("_FILE")))


def is_allowed(name: str, value: str) -> bool:
    """Whether a setting may be this; raises SettingsError, which says why, when not."""
    return load({name: value}) is not None


@cache
def paths(service: str) -> frozenset[str]:
    """What may be asked of a service without parameters: its probes, its metrics, its pages."""
    if service == "api":
        return frozenset(rule.rule for rule in create_app(load({})).url_map.iter_rules() if not rule.arguments)
    if service in _OURS_PATHS:
        return frozenset(_answered(ROOT / _OURS_PATHS[service]))
    return frozenset(_OTHERS_PATHS[service])


def is_metric(name: str) -> bool:
    """Whether there is a series of that name, of whatever is watched."""
    return declared.exists(name)


@cache
def targets() -> frozenset[str]:
    """The stages of docker/Dockerfile, by name."""
    return frozenset(re.findall(r"^FROM .* AS (\S+)$", (ROOT / "docker" / "Dockerfile").read_text(), re.M))


def _answered(file: Path) -> set[str]:
    """The paths that a server of ours answers: `/health` and the like, as they stand in its code."""
    texts = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"/[a-z]+", text)}
