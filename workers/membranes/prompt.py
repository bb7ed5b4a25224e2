"""What a membrane is, and the chat form of official RWKV World models that all of them write."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from echo_tasks.messages import JobSpec, StepOutput
from workers.sequence import Generation

STOP = ("\n\nUser:", "\n\nSystem:", "\n\nAssistant:")
"""Where a model that writes the next turn by itself is stopped."""


class Membrane(Protocol):
    """One way of looking at a job's text."""

    name: str

    def prompts(self, spec: JobSpec, outputs: Mapping[str, StepOutput]) -> Sequence[str]:
        """The prompt for the model, and then shorter ones in case it is too long for it.

        `outputs` are those of the membranes that came before.
        """

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        """What can be read from the text and from what the model made of it, as JSON values."""


def chat(system: str, user: str, begun: str = "") -> str:
    """A one-turn prompt: `System: …`, `User: …`, and an assistant's turn that `begun` starts.

    A blank line separates turns, so those inside the text become single line breaks.
    """
    assistant = f"Assistant: {begun}" if begun else "Assistant:"
    return f"System: {_one_turn(system)}\n\nUser: {_one_turn(user)}\n\n{assistant}"


def shortened(text: str, limit: int) -> str:
    """`text` in one line of at most `limit` characters, cut between words."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    return line[:limit].rsplit(" ", 1)[0][: limit - 1] + "…"


def _one_turn(text: str) -> str:
    return re.sub(r"\s*\n\s*\n\s*", "\n", text.replace("\r\n", "\n").strip())
