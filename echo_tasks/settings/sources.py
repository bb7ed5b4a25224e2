"""Where a setting is given: by its variable NAME, or in the file that NAME_FILE names, as secrets are mounted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from echo_tasks.errors import SettingsError
from echo_tasks.settings.whole import Settings
from echo_tasks.settings.words import has_lines, is_secret, redacted_whole

FILE = "_FILE"


@dataclass(frozen=True, slots=True)
class Given:
    """A setting's value, and what may be told of it: the variable as it is, a secret hidden, or the file."""

    value: str
    told: str


def read(environ: Mapping[str, str]) -> dict[str, Given]:
    """What is given of the settings, by their names; an empty variable counts as unset.

    Raises SettingsError for files that cannot be read, and for what is given twice.
    """
    found: dict[str, Given] = {}
    problems = []
    for name in Settings.model_fields:
        try:
            if given := _given(name, environ):
                found[name] = given
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    return found


def _given(name: str, environ: Mapping[str, str]) -> Given | None:
    variable = name.upper()
    value, file = (environ.get(one, "").strip() for one in (variable, variable + FILE))
    if value and file:
        raise SettingsError([f"{variable} and {variable}{FILE} are both given: one of them is enough"])
    if file:
        told = f"{variable}{FILE}={file}"
        return Given(_text(Path(file), told), told)
    if not value:
        return None
    told = f"{variable}={'***' if is_secret(name) else redacted_whole(value)!r}"
    return Given(value.replace(",", "\n") if has_lines(name) else value, told)


def _text(file: Path, told: str) -> str:
    """What the file holds, without the line's end that editors and `echo` leave there."""
    try:
        text = file.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError([f"{told}: {reason}"]) from error
    if not text.strip():
        raise SettingsError([f"{told} is empty"])
    return text
