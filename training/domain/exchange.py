"""One exchange of a conversation: what a person writes, what they should be told, and who among the membranes knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from echo_tasks.keys import Membrane


@dataclass(frozen=True, slots=True)
class Exchange:
    """`known_by` is the membrane that has the answer; `corrected` is the text as it should have been written."""

    user: str
    answer: str
    known_by: Membrane = "memory"
    corrected: str = ""

    @property
    def restatement(self) -> str:
        """What the grammar membrane makes of the text."""
        return self.answer if self.known_by == "grammar" else self.corrected or self.user


def typed(exchange: Exchange, random: Random) -> Exchange:
    """The exchange as people type: now and then without a capital or a final mark."""
    text = exchange.user
    if random.random() < 0.1 and not text.startswith(("I ", "I'")):
        text = text[0].lower() + text[1:]
    if random.random() < 0.1 and text[-1] in ".?":
        text = text[:-1]
    return replace(exchange, user=text, corrected=exchange.corrected or exchange.user)
