"""The membranes: each builds a prompt from a job, and reads the model's text back as fields."""

from __future__ import annotations

import hashlib
from pathlib import Path

from echo_tasks import ranking
from workers.membranes.grammar import Grammar
from workers.membranes.integration import Integration
from workers.membranes.memory import Memory
from workers.membranes.prompt import Membrane
from workers.membranes.reasoning import Reasoning

_BY_NAME: dict[str, Membrane] = {
    membrane.name: membrane for membrane in (Memory(), Reasoning(), Grammar(), Integration())
}


def named(name: str) -> Membrane:
    """The membrane of that name. Raises LookupError with the known names."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise LookupError(f"no membrane {name!r}; there are: {', '.join(_BY_NAME)}") from None


def fingerprint(folder: Path = Path(__file__).parent) -> str:
    """SHA-256 of the membranes' code: an answer that other templates or rules made is another answer.

    How memories are ranked decides what a prompt recalls.
    """
    sources = [*sorted(folder.glob("*.py")), Path(ranking.__file__)]
    return hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
