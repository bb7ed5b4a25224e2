"""Reading the environment, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from echo_tasks.errors import SettingsError, exit_misconfigured
from echo_tasks.settings import sources
from echo_tasks.settings.sources import Given
from echo_tasks.settings.whole import Settings
from echo_tasks.settings.words import allowed, default_of


def load(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`, and in the files that it names; an empty variable is unset. Raises SettingsError."""
    given = sources.read(environ)
    try:
        return Settings.model_validate({name: one.value for name, one in given.items()})
    except ValidationError as error:
        raise SettingsError([_problem(problem, given) for problem in error.errors()]) from error


@cache
def current() -> Settings:
    """This process's settings; a bad one ends the process with one line a variable."""
    try:
        return load(os.environ)
    except SettingsError as error:
        exit_misconfigured(error)


def _problem(problem: Any, given: Mapping[str, Given]) -> str:
    name, reason = str(problem["loc"][0]), problem["msg"]
    told = given[name].told if name in given else f"{name.upper()}={default_of(name)!r}"
    return (
        f"{told} is not allowed "
        f"({reason[:1].lower()}{reason[1:]}); "
        f"allowed: {allowed(name)}; it is: {Settings.model_fields[name].description}"
    )
