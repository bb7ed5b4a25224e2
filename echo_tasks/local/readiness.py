"""The farm on this machine as a client finds it: its ports, whether it is ready, and where to reach it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from echo_tasks.local import places
from echo_tasks.local.servers import port_is_free
from echo_tasks.settings import Settings


def ports(settings: Settings) -> dict[str, tuple[str, int]]:
    """The ports that the farm binds on this machine, by the settings that name them: host and port."""
    bound = {
        "API_PORT": (settings.api_host, settings.api_port),
        "FLOWER_PORT": (settings.flower_address, settings.flower_port),
        "CONTROLLER_PORT": (settings.controller_address, settings.controller_port),
        "EXPORTER_PORT": (settings.exporter_address, settings.exporter_port),
    }
    if settings.broker_url is None:
        bound["BROKER_PORT"] = ("127.0.0.1", settings.broker_port)
    if settings.cache_url is None:
        bound["STORE_PORT"] = ("127.0.0.1", settings.store_port)
    return bound


def port_problem(settings: Settings) -> str:
    """Why the farm could not bind its ports, in a line; empty when it could."""
    for variable, (host, port) in ports(settings).items():
        try:
            if not port_is_free(port, host):
                return f"Port {port} ({variable}) is taken by another program. Free it, or set {variable} to another."
        except OSError as error:
            return f"Nothing can be bound at {host} port {port} ({variable}): {error.strerror}."
    return ""


def readiness(settings: Settings) -> tuple[bool, dict[str, str]]:
    """Whether the farm is ready by the API's own word and those of its other servers, and each check in a word."""
    checks = {"api": "not up"}
    status, body = _get(f"{places.api(settings)}/readyz")
    if status in {200, 503}:
        found = json.loads(body)["checks"]
        checks = {"api": "ok"} | {name: "ok" if check["ok"] else "waiting" for name, check in found.items()}
    others = {
        "flower": f"{places.flower(settings)}/healthcheck",
        "controller": f"{places.controller(settings)}/health",
        "exporter": f"{places.exporter(settings)}/health",
    }
    checks |= {name: "ok" if _get(url)[0] == 200 else "not up" for name, url in others.items()}
    return set(checks.values()) == {"ok"}, checks


def _get(url: str) -> tuple[int, bytes]:
    """Status and body of one of our own servers; status 0 when it does not answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own servers
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


def print_access_points(settings: Settings) -> None:
    api = places.api(settings)
    print(f"""
The farm is ready.
  API       {api}/api/jobs
  OpenAPI   {api}/openapi/swagger
  Health    {api}/health
  Metrics   {api}/metrics
  Flower    {places.flower(settings)}

Try:
  curl -s {api}/api/cognitive/process -H 'Content-Type: application/json' \\
       -d '{{"input_text":"What is two plus three?"}}'
""")
