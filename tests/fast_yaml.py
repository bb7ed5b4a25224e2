"""YAML by libyaml where PyYAML was built with it: a tenth of the time of the parser in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """The only document of a text."""
    return yaml.load(text, Loader=Loader)  # noqa: S506 - it is one of the safe ones


def load_all(text: str) -> Iterator[Any]:
    """Every document of a text."""
    yield from yaml.load_all(text, Loader=Loader)
