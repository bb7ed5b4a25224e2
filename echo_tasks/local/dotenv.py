"""The file `.env` of the folder that a command runs in: lines NAME=value, which win over the environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from honcho import environ

from echo_tasks.errors import SettingsError, exit_misconfigured
from echo_tasks.settings import misspelt


def read() -> None:
    """Put what it says into this process's environment, as honcho does; a bad file ends the process.

    What is no setting may be another program's, and only looks like a mistake: that is a line on stderr.
    """
    if not (file := Path(".env")).is_file():
        return
    try:
        said = environ.parse(file.read_text())
    except ValueError as error:
        exit_misconfigured(SettingsError([f"{file.resolve()} is not lines of NAME=value: {error}"]))
    for name in said:
        if meant := misspelt(name):
            print(f"echo: {file.resolve()}: {name} is no setting; {meant} is", file=sys.stderr)
    os.environ.update(said)
