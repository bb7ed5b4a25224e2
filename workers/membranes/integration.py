"""The integration step: one answer from the membranes' outputs, within a prompt budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from echo_tasks.memories import Memory
from echo_tasks.messages import JobSpec, StepOutput, Turn
from workers.membranes.prompt import Prompt, chat, recent, shortened
from workers.sequence import Generation

NOTE_LIMITS = (1200, 300, 0)
"""Characters of each membrane's output that the answer is composed from, at most; less where room is short."""

_SYSTEM = "Answer the user. Use these notes."


class Integration:
    """Asks the model for the answer, with the membranes' outputs as notes."""

    name = "integration"

    def prompts(
        self,
        spec: JobSpec,
        history: Sequence[Turn],
        outputs: Mapping[str, StepOutput],
        memories: Sequence[Memory] = (),
    ) -> Sequence[Prompt]:
        longest, *shorter = (_system(outputs, limit) for limit in NOTE_LIMITS)
        fewer_turns = [chat(longest, spec.input_text, turns, is_template=False) for turns in recent(history)]
        return fewer_turns + [chat(system, spec.input_text, is_template=False) for system in shorter]

    def fields(self, spec: JobSpec, generation: Generation) -> dict[str, Any]:
        return {}


def _system(outputs: Mapping[str, StepOutput], limit: int) -> str:
    notes = (
        f"{name.capitalize()}: {shortened(output.text, limit)}"
        for name, output in outputs.items()
        if output.error is None and limit
    )
    return "\n".join([_SYSTEM, *notes])
