"""The file `.env` of the folder that a command runs in: lines NAME=value, which win over the environment."""

from __future__ import annotations

import os
from pathlib import Path

from honcho import environ

from echo_tasks.errors import SettingsError, exit_misconfigured


def read() -> None:
    """Put what it says into this process's environment, as honcho does; a bad file ends the process."""
    if not (file := Path(".env")).is_file():
        return
    try:
        os.environ.update(environ.parse(file.read_text()))
    except ValueError as error:
        exit_misconfigured(SettingsError([f"{file.resolve()} is not lines of NAME=value: {error}"]))
