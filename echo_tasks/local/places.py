"""Where the farm's servers are found from this machine."""

from __future__ import annotations

from echo_tasks.settings import Settings


def api(settings: Settings) -> str:
    """URL of the API, without a slash at its end, as the others."""
    return _url(settings.api_host, settings.api_port)


def flower(settings: Settings) -> str:
    """URL of Flower, its prefix included."""
    prefix = f"/{settings.flower_url_prefix}" if settings.flower_url_prefix else ""
    return _url(settings.flower_address, settings.flower_port) + prefix


def controller(settings: Settings) -> str:
    """URL of the controller."""
    return _url(settings.controller_address, settings.controller_port)


def exporter(settings: Settings) -> str:
    """URL of the exporter."""
    return _url(settings.exporter_address, settings.exporter_port)


def prometheus(settings: Settings) -> str:
    """URL of the local Prometheus."""
    return _url("127.0.0.1", settings.prometheus_port)


def _url(host: str, port: int) -> str:
    """What is bound to every interface is found on loopback, too."""
    reachable = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
