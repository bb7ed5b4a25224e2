"""The grammar membrane: a deterministic analysis of the text, and the model's corrected restatement."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from echo_tasks.memories import Memory
from echo_tasks.messages import JobSpec, StepOutput, Turn
from workers.membranes.prompt import Prompt, chat
from workers.sequence import Generation

_SYSTEM = "Correct the grammar of the user's text, or answer what is asked about it. Write nothing else."
_ENTITIES_KEPT = 16

_QUESTION_WORDS = ("who", "whom", "whose", "what", "which", "when", "where", "why", "how")


class Grammar:
    """Asks the model for the corrected text; the analysis needs no model."""

    name = "grammar"

    def prompts(
        self,
        spec: JobSpec,
        history: Sequence[Turn],
        outputs: Mapping[str, StepOutput],
        memories: Sequence[Memory] = (),
    ) -> Sequence[Prompt]:
        return [chat(_SYSTEM, spec.input_text)]

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        return analyse(spec.input_text) | {"restatement": generation.text.strip()}


def analyse(text: str) -> dict[str, Any]:
    """Sentences, the kind of question if any, capitalised names, and complexity (low, medium, high)."""
    sentences = [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]
    words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text)
    return {
        "sentences": len(sentences),
        "words": len(words),
        "question": _question(sentences),
        "entities": _entities(sentences),
        "complexity": "high" if len(words) > 20 else "medium" if len(words) > 10 else "low",
    }


def _question(sentences: list[str]) -> str | None:
    """The first question's word, `yes-no` for one without, or None."""
    for sentence in sentences:
        if re.search(r"[?？][!?！？\"')”’]*$", sentence):
            words = re.findall(r"[a-z]+", sentence.lower())
            return next((word for word in words if word in _QUESTION_WORDS), "yes-no")
    return None


def _entities(sentences: list[str]) -> list[str]:
    """Runs of capitalised words that do not open their sentence, in order, without repeats."""
    found: dict[str, None] = {}
    for sentence in sentences:
        for match in re.finditer(r"(?<=\s)[^\W\d_a-z][\w'’-]*(?:\s[^\W\d_a-z][\w'’-]+)*", sentence):
            if match[0].rstrip("'’-") not in {"I", "I'm", "I’m", "I'll", "I've", "I'd"} and match[0][0].isupper():
                found[match[0]] = None
    return list(found)[:_ENTITIES_KEPT]
