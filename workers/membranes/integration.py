"""The integration step: one answer from the membranes' outputs, within a prompt budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from echo_tasks.messages import JobSpec, StepOutput
from workers.membranes.prompt import chat, shortened
from workers.sequence import Generation

NOTE_LIMITS = (1200, 300, 0)
"""Characters of each membrane's output that the answer is composed from, at most; less where room is short."""

_SYSTEM = "Answer the user. Use these notes."


class Integration:
    """Asks the model for the answer, with the membranes' outputs as notes."""

    name = "integration"

    def prompts(self, spec: JobSpec, outputs: Mapping[str, StepOutput]) -> Sequence[str]:
        return [chat("\n".join([_SYSTEM, *_notes(outputs, limit)]), spec.input_text) for limit in NOTE_LIMITS]

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        return {}


def _notes(outputs: Mapping[str, StepOutput], limit: int) -> list[str]:
    return [
        f"{name.capitalize()}: {shortened(output.text, limit)}"
        for name, output in outputs.items()
        if output.error is None and limit
    ]
