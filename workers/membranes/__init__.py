"""The membranes: each builds a prompt from a job, and reads the model's text back as fields."""

from __future__ import annotations

import hashlib

from echo_tasks.keys import STEPS
from echo_tasks.messages import JobSpec, StepOutput
from workers.membranes.grammar import Grammar
from workers.membranes.integration import Integration
from workers.membranes.memory import Memory
from workers.membranes.prompt import STOP, Membrane
from workers.membranes.reasoning import Reasoning

_BY_NAME: dict[str, Membrane] = {
    membrane.name: membrane for membrane in (Memory(), Reasoning(), Grammar(), Integration())
}


def named(name: str) -> Membrane:
    """The membrane of that name. Raises LookupError with the known names."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise LookupError(f"no membrane {name!r}; there are: {', '.join(_BY_NAME)}") from None


def fingerprint() -> str:
    """SHA-256 of what the membranes write for a fixed job: it changes when, and only when, a template does."""
    spec = JobSpec(job_id="0" * 32, session_id="s", input_text="What is two plus three?")
    notes = {name: StepOutput(text=name) for name in STEPS}
    prompts = [named(name).prompt(spec, notes) for name in STEPS]
    return hashlib.sha256("\0".join((*prompts, *STOP)).encode()).hexdigest()
