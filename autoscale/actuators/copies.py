"""A container like another one of its service, as Docker's API wants it described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echo_tasks.errors import ActuatorError

NUMBER = "com.docker.compose.container-number"


@dataclass(frozen=True, slots=True)
class Copy:
    """The body of `POST /containers/create`, and what to connect the container to after that.

    Of several networks in that body, engines before 25 (API 1.44) take none but the first.
    """

    config: dict[str, Any]
    more_networks: dict[str, dict[str, Any]]


def like(inspected: Mapping[str, Any], name: str, number: int) -> Copy:
    """A copy of a container that was inspected, but for what must be its own: name, number, host, addresses.

    Its image is that of the container, whatever the image's tag means by now. Raises ActuatorError for one whose
    host name is fixed: the copy's worker would be taken for its own.
    """
    config, own = inspected["Config"], inspected["Id"][:12]
    if config.get("Hostname") not in ("", None, own):
        told = f"container {inspected['Name'].lstrip('/')} has the fixed host name {config['Hostname']!r}"
        raise ActuatorError(f"Docker Engine: {told}: leave hostname and network_mode: host out of the service")
    networks = inspected["NetworkSettings"]["Networks"]
    aliases = {network: _aliases(inspected, of, name) for network, of in networks.items()}
    main = inspected["HostConfig"]["NetworkMode"]
    first = {main: _endpoint(networks[main], aliases[main])} if main in networks else {}
    return Copy(
        {
            **{key: value for key, value in config.items() if key not in ("Hostname", "MacAddress")},
            "Image": inspected["Image"],
            "Labels": {**config["Labels"], NUMBER: str(number)},
            "HostConfig": inspected["HostConfig"],
            "NetworkingConfig": {"EndpointsConfig": first},
        },
        {
            network: {"aliases": aliases[network], "links": _links(of), "driver_opt": of.get("DriverOpts")}
            for network, of in networks.items()
            if network != main
        },
    )


def _endpoint(of: Mapping[str, Any], aliases: list[str]) -> dict[str, Any]:
    return {"Aliases": aliases, "Links": of.get("Links"), "DriverOpts": of.get("DriverOpts")}


def _aliases(inspected: Mapping[str, Any], of: Mapping[str, Any], name: str) -> list[str]:
    """Those of the service, and the new name for the old one; Docker itself adds the container's id."""
    old = inspected["Name"].lstrip("/")
    given = [alias for alias in of.get("Aliases") or [] if alias != inspected["Id"][:12]]
    return [name if alias == old else alias for alias in given]


def _links(of: Mapping[str, Any]) -> dict[str, str] | None:
    return dict(link.split(":", 1) for link in of.get("Links") or []) or None
