"""Asking a platform for several things, of which some may fail."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from echo_tasks.errors import ActuatorError, BrokerUnavailable

T = TypeVar("T")


def each(what: str, things: Collection[T], act: Callable[[T], object]) -> None:
    """Act on every one, whatever becomes of the others. Raises ActuatorError: how many failed, and why."""
    problems: list[str] = []
    for thing in things:
        try:
            act(thing)
        except (ActuatorError, BrokerUnavailable) as error:
            problems.append(str(error))
    if problems:
        told = "; ".join(dict.fromkeys(problems))
        raise ActuatorError(f"{what}: {len(problems)} of {len(things)} failed: {told}")
