"""The memory membrane: answer from what has been said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from echo_tasks.messages import JobSpec, StepOutput, Turn
from workers.membranes.prompt import Prompt, chat, recent
from workers.sequence import Generation

_SYSTEM = "Recall what the user has told you, and what you know. If you have not been told, say so."


class Memory:
    """Asks the model what it remembers: of the conversation first, then of the world."""

    name = "memory"

    def prompts(self, spec: JobSpec, history: Sequence[Turn], outputs: Mapping[str, StepOutput]) -> Sequence[Prompt]:
        return [chat(_SYSTEM, spec.input_text, turns) for turns in recent(history)]

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        return {"memories_used": []}
