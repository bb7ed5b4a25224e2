"""The integration step: one answer from the membranes' outputs, within a prompt budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echo_tasks.messages import JobSpec, StepOutput
from workers.membranes.prompt import chat, shortened
from workers.sequence import Generation

NOTE_LIMIT = 1200
"""Characters of each membrane's output that the answer is composed from."""


class Integration:
    """Asks the model for the answer, with the membranes' outputs as notes."""

    name = "integration"

    def prompt(self, spec: JobSpec, outputs: Mapping[str, StepOutput]) -> str:
        notes = [
            f"{name.capitalize()}: {shortened(output.text, NOTE_LIMIT)}"
            for name, output in outputs.items()
            if output.error is None
        ]
        return chat("\n".join(["Answer the user. Use these notes.", *notes]), spec.input_text)

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        return {}
