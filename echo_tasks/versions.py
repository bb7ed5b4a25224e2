"""Versions of a job's record: what a release writes, and what it can read.

A job is written in the lowest version that holds all that it asks for, so releases of two versions work side by side as
long as nobody uses what only the newer one knows. Whoever finds a record above what he reads leaves it to others. The
version is a field of the record, not of the message that carries a step: a claim reads both at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from echo_tasks.errors import RecordTooNew

FIRST = 1
"""That of records which name none."""

LATEST = 1
"""The highest that this release reads. A field of a job that comes with the next one is marked `Since(2)`."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1, 30
"""How long a step that was refused waits until it is published again: doubled each time."""


@dataclass(frozen=True, slots=True)
class Since:
    """Marks a field of a message with the version that it came with; at its default, it is not written at all."""

    version: int


def needed(message: BaseModel) -> int:
    """The lowest version that holds all that the message says."""
    inner = (needed(value) for _, value in message if isinstance(value, BaseModel))
    return max((FIRST, *inner, *(mark.version for name, mark in _marked(message) if not _is_default(message, name))))


def unsaid(message: BaseModel) -> set[str]:
    """The marked fields that are at their defaults: older processes know the message without them."""
    return {name for name, _ in _marked(message) if _is_default(message, name)}


def check(version: str | int | None) -> None:
    """Raises RecordTooNew for the version of a record that this release cannot read."""
    if is_newer(version):
        raise RecordTooNew(int(version or FIRST), LATEST)


def is_newer(version: str | int | None) -> bool:
    """Whether this release cannot read a record that names this version, or none."""
    return int(version or FIRST) > LATEST


def _marked(message: BaseModel) -> Iterator[tuple[str, Since]]:
    for name, field in type(message).model_fields.items():
        for mark in field.metadata:
            if isinstance(mark, Since):
                yield name, mark


def _is_default(message: BaseModel, name: str) -> bool:
    default: Any = type(message).model_fields[name].get_default(call_default_factory=True)
    return bool(getattr(message, name) == default)
