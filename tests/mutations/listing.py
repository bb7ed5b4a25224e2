"""The list of mutations, read from `mutations.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutations.toml")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One changed line: `before`, which occurs once in the file, becomes `after`; one of the tests has to fail."""

    number: int
    """The mutation's place in the list, from 1."""
    area: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
    """Test files, or `file::test` without parameters, relative to the root."""
    why: str = ""

    def __str__(self) -> str:
        return f"{self.area}  {self.file}: {self.before.strip()} -> {self.after.strip()}"


def read(path: Path = LIST) -> Sequence[Mutation]:
    """All mutations, in the order of the list. Raises TypeError for an entry with unknown or missing fields."""
    entries = tomllib.loads(path.read_text())["mutation"]
    return [
        Mutation(number=number, **entry | {"tests": tuple(entry["tests"])}) for number, entry in enumerate(entries, 1)
    ]


def mutated(text: str, mutation: Mutation) -> str:
    """The file's text with the mutation. Raises LookupError unless `before` occurs exactly once."""
    found = text.count(mutation.before)
    if found != 1:
        raise LookupError(f"{mutation.file} has the text {found} times: {mutation.before}")
    return text.replace(mutation.before, mutation.after)


def is_there(root: Path, test: str) -> bool:
    """Whether a checkout has a test: its file, and the function in it where one is named."""
    file, _, name = test.partition("::")
    path = root / file
    return path.is_file() and (not name or f"def {name}(" in path.read_text())
