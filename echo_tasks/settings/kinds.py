"""What settings may be: the kinds of values, and who checks them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema

from echo_tasks import addresses, keys


def _states_by_step(text: str) -> str:
    names = [*keys.MEMBRANES, keys.INTEGRATION]
    for pair in filter(None, map(str.strip, text.split(","))):
        step, _, state = map(str.strip, pair.partition("="))
        if step not in names or not state:
            raise ValueError(f"{pair!r} is no membrane=NAME; membranes: {', '.join(names)}")
    return text


def _for_traces(url: str) -> str:
    """Traces are an extra: a process that lacks it must not start as if they were sent."""
    try:
        is_installed = find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        raise ValueError("traces need an extra that is not installed: pip install 'deep-tree-echo[tracing]'")
    return url


def _path_prefix(text: str) -> str:
    prefix = text.strip("/")
    if not re.fullmatch(r"[\w~-][\w.~-]*(/[\w~-][\w.~-]*)*", prefix, re.ASCII):
        raise ValueError("the beginning of a URL's path is expected, as in tools/flower")
    return prefix


def _origins(text: str) -> frozenset[str]:
    """As browsers write them: in lower case, and without the port that goes without saying."""
    found = {origin.strip().lower() for origin in text.split(",") if origin.strip()}
    for origin in found:
        if origin != "*" and not re.fullmatch(r"https?://([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?", origin, re.ASCII):
            raise ValueError(f"{origin!r} is no origin, as in https://app.example.org:8443")
    return frozenset(re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin) for origin in found)


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part) for part in map(str.strip, text.split(",")) if part)


MOST_SLOTS = 1024

ONE_A_LINE = "one_a_line"
"""What marks a setting of several values in its schema."""

Port = Annotated[int, Field(ge=1, le=65535)]
ServerUrl = Annotated[str, AfterValidator(addresses.checked)]
StatesByStep = Annotated[str, AfterValidator(_states_by_step)]
TraceEndpoint = Annotated[str, Field(pattern=r"^https?://[^/]"), AfterValidator(_for_traces)]
PathPrefix = Annotated[str, AfterValidator(_path_prefix)]
Origins = Annotated[frozenset[str], BeforeValidator(_origins), WithJsonSchema({"type": "string"})]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks), WithJsonSchema({"type": "string"})
]
Secret = Annotated[SecretStr, Field(min_length=1)]
