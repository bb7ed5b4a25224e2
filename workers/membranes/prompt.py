"""What a membrane is, and the chat form of official RWKV World models that all of them write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Protocol

from echo_tasks.memories import Memory
from echo_tasks.messages import JobSpec, StepOutput, Turn
from workers.sequence import Generation

STOP = ("\n\nUser:", "\n\nSystem:", "\n\nAssistant:")
"""Where a model that writes the next turn by itself is stopped."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text for the model, and where in it, in characters, beginnings end that other prompts are likely to share.

    `is_template`: the marks end what is nobody's own. `fields` are told with the answer to it.
    """

    text: str
    marks: tuple[int, ...] = ()
    is_template: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)


class Membrane(Protocol):
    """One way of looking at a job's text."""

    name: str

    def prompts(
        self,
        spec: JobSpec,
        history: Sequence[Turn],
        outputs: Mapping[str, StepOutput],
        memories: Sequence[Memory] = (),
    ) -> Sequence[Prompt]:
        """The prompt for the model, and then shorter ones in case it is too long for it.

        `history` are the session's turns before this one, oldest first; `outputs` are those of the membranes
        that came before; `memories` is what the session remembers.
        """

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        """What can be read from the text and from what the model made of it, as JSON values."""


def chat(system: str, user: str, history: Sequence[Turn] = (), *, is_template: bool = True) -> Prompt:
    """The turns so far, then `System: …`, `User: …`, and the assistant's turn begun.

    The marks are the ends of the turns; where there are none, that of a system line which is a template's.

    The turns come first, so that all membranes of a session share one prefix, which only ever grows. A blank
    line separates turns, so those inside a text become single line breaks.
    """
    past, template = past_of(history), f"System: {_one_turn(system)}\n\n"
    is_template = is_template and not past.marks
    marks = (len(template),) if is_template else past.marks
    return Prompt(f"{past.text}{template}User: {_one_turn(user)}\n\nAssistant:", marks, is_template)


def past_of(history: Sequence[Turn]) -> Prompt:
    """The turns so far, and the end of each."""
    turns = [f"User: {_one_turn(turn.user)}\n\nAssistant: {_one_turn(turn.assistant)}\n\n" for turn in history]
    return Prompt("".join(turns), tuple(accumulate(map(len, turns))))


def recent(history: Sequence[Turn]) -> Iterator[Sequence[Turn]]:
    """The whole history, then its later half, and so on to none."""
    while history:
        yield history
        history = history[(len(history) + 1) // 2 :]
    yield history


def shortened(text: str, limit: int) -> str:
    """`text` in one line of at most `limit` characters, cut between words."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    return line[:limit].rsplit(" ", 1)[0][: limit - 1] + "…"


def _one_turn(text: str) -> str:
    return re.sub(r"\s*\n\s*\n\s*", "\n", text.replace("\r\n", "\n").strip())
