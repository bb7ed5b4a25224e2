"""The job that contenders are given: the prompts of one membrane and of integration, as a worker's steps build them."""

from __future__ import annotations

from dataclasses import dataclass

from echo_tasks.keys import INTEGRATION
from echo_tasks.messages import JobSpec, StepOutput
from workers import membranes

MEMBRANE = "memory"


@dataclass(frozen=True, slots=True)
class Errand:
    """A job with a number, which no other has."""

    number: int

    @property
    def text(self) -> str:
        return f"Tell me about the river that runs through the town of number {self.number}."

    @property
    def first(self) -> str:
        """The membrane's prompt."""
        return self._prompt(MEMBRANE, {})

    def second(self, said: str) -> str:
        """Integration's prompt, after what was said to the first."""
        return self._prompt(INTEGRATION, {MEMBRANE: StepOutput(text=said.strip())})

    def _prompt(self, step: str, outputs: dict[str, StepOutput]) -> str:
        spec = JobSpec(job_id="", session_id="s", input_text=self.text)
        return membranes.named(step).prompts(spec, (), outputs)[0].text
