"""The memory membrane: answer from what has been said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from echo_tasks.messages import JobSpec, StepOutput
from workers.membranes.prompt import chat
from workers.sequence import Generation

_SYSTEM = "Answer from what the user has told you. If you have not been told, say so."


class Memory:
    """Asks the model what it can say from the conversation alone."""

    name = "memory"

    def prompts(self, spec: JobSpec, outputs: Mapping[str, StepOutput]) -> Sequence[str]:
        return [chat(_SYSTEM, spec.input_text)]

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        return {"memories_used": []}
