"""The reasoning membrane: choose a kind of reasoning, think step by step, conclude."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from echo_tasks.memories import Memory
from echo_tasks.messages import JobSpec, StepOutput, Turn
from workers.membranes.prompt import Prompt, chat, recent
from workers.sequence import Generation

_KINDS: tuple[tuple[str, str], ...] = (
    ("abductive", r"why|explain|because|causes?|reason for"),
    ("inductive", r"patterns?|usually|often|tends? to|every time|in general"),
    ("analogical", r"like a|similar|analogy|compared? (?:to|with)|as if"),
    ("probabilistic", r"probably|likely|chances?|odds"),
    ("temporal", r"before|after|when|until|how long"),
    ("spatial", r"where|above|below|left of|right of|inside|between"),
    ("deductive", r"if|then|therefore|must|all|no|every|follows"),
)
_DEFAULT_KIND = "deductive"


class Reasoning:
    """Asks the model for steps and a conclusion, by the kind of reasoning that the text calls for."""

    name = "reasoning"

    def prompts(
        self,
        spec: JobSpec,
        history: Sequence[Turn],
        outputs: Mapping[str, StepOutput],
        memories: Sequence[Memory] = (),
    ) -> Sequence[Prompt]:
        system = f"Think step by step, by {kind_of(spec.input_text)} reasoning, then say what follows."
        return [chat(system, spec.input_text, turns) for turns in recent(history)]

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        steps = [step.strip() for step in re.split(r"(?<=[.!?])\s+|\n+", generation.text) if step.strip()]
        return {
            "kind": kind_of(spec.input_text),
            "steps": steps,
            "conclusion": steps[-1] if steps else "",
            "confidence": round(math.exp(generation.mean_logprob), 4),
        }


def kind_of(text: str) -> str:
    """The kind of reasoning that the words of the text call for."""
    for kind, words in _KINDS:
        if re.search(rf"\b(?:{words})\b", text, re.IGNORECASE):
            return kind
    return _DEFAULT_KIND
