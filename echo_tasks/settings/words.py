"""Settings in words: defaults, what is allowed, what is secret."""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import Any

from echo_tasks import addresses
from echo_tasks.settings.kinds import ONE_A_LINE
from echo_tasks.settings.whole import Settings

_ALIKE = 0.85
"""From 0 to 1, how much a name has to have in common with another one to be taken for it with a mistake."""


def redacted(text: str) -> str:
    """`text` with the credentials of any URL in it hidden."""
    return re.sub(r"(\w+://)\S*@", r"\1***@", text)


def redacted_whole(value: str) -> str:
    """The same for what is nothing but a URL, or should be: whatever stands there before its host."""
    return re.sub(r"(\w+://).*@", r"\1***@", value)


def misspelt(variable: str) -> str | None:
    """The variable that a name seems to mean that is none of ours; None for ours, and for those of other programs."""
    known = [name.upper() + end for name in Settings.model_fields for end in ("", "_FILE")]
    if variable in known:
        return None
    return next(iter(difflib.get_close_matches(variable, known, n=1, cutoff=_ALIKE)), None)


def default_of(name: str) -> str:
    """The default of a setting as a person would write it; empty when there is none."""
    default = Settings.model_fields[name].default
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def has_lines(name: str) -> bool:
    """Whether a setting is several values: one a line in a file, with commas between in a variable."""
    extra = Settings.model_fields[name].json_schema_extra
    return isinstance(extra, dict) and bool(extra.get(ONE_A_LINE))


def is_secret(name: str) -> bool:
    """Whether a setting's value may be told to nobody."""
    return bool(_schema(name).get("format") == "password")


def allowed(name: str) -> str:
    """What a setting may be, in words."""
    schema = _schema(name)
    if "enum" in schema:
        return " or ".join(schema["enum"])
    kind = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}[
        schema["type"]
    ]
    if name.endswith("_url"):
        kind = addresses.FORM
    if schema.get("format") == "path":
        kind = "a path"
    match schema.get("minimum"), schema.get("maximum"):
        case None, None:
            return kind
        case low, None:
            return f"{kind} from {low}"
        case low, high:
            return f"{kind} from {low} to {high}"
    return kind


def _schema(name: str) -> dict[str, Any]:
    """The JSON schema of a setting, where it is set."""
    schema = _schemas()[name]
    return next((choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"), schema)


@cache
def _schemas() -> dict[str, dict[str, Any]]:
    """The JSON schema of every setting; made once, since it takes tens of milliseconds."""
    schemas: dict[str, dict[str, Any]] = Settings.model_json_schema()["properties"]
    return schemas
