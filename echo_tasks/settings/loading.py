"""Reading the environment, once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import ValidationError

from echo_tasks.errors import SettingsError, exit_misconfigured
from echo_tasks.settings.whole import Settings
from echo_tasks.settings.words import allowed, default_of, is_secret, redacted


def load(environ: Mapping[str, str]) -> Settings:
    """The settings in `environ`; an empty variable counts as unset. Raises SettingsError."""
    given = {name: value for name in Settings.model_fields if (value := environ.get(name.upper(), "").strip()) != ""}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError([_problem(problem, given) for problem in error.errors()]) from error


@cache
def current() -> Settings:
    """This process's settings; a bad one ends the process with one line a variable."""
    try:
        return load(os.environ)
    except SettingsError as error:
        exit_misconfigured(error)


def _problem(problem: Any, given: Mapping[str, str]) -> str:
    name, reason = str(problem["loc"][0]), problem["msg"]
    value = "***" if is_secret(name) else redacted(given.get(name, default_of(name)))
    return (
        f"{name.upper()}={value!r} is not allowed "
        f"({reason[:1].lower()}{reason[1:]}); "
        f"allowed: {allowed(name)}; it is: {Settings.model_fields[name].description}"
    )
