"""What settings may be: the kinds of values, and who checks them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

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


MOST_SLOTS = 1024

ONE_A_LINE = "one_a_line"
"""What marks a setting of several values in its schema."""

Port = Annotated[int, Field(ge=1, le=65535)]
ServerUrl = Annotated[str, AfterValidator(addresses.checked)]
StatesByStep = Annotated[str, AfterValidator(_states_by_step)]
TraceEndpoint = Annotated[str, Field(pattern=r"^https?://[^/]"), AfterValidator(_for_traces)]
PathPrefix = Annotated[str, AfterValidator(_path_prefix)]
Secret = Annotated[SecretStr, Field(min_length=1)]
