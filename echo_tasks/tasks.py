"""The farm's four Celery tasks: their names, and thin bodies that hand the step to the running worker."""

from __future__ import annotations

from typing import Protocol

from celery import Task
from celery.exceptions import Terminated

from echo_tasks import keys
from echo_tasks.celery import app
from echo_tasks.errors import StepFailed


class StepRunner(Protocol):
    """What a worker attaches to do the work of its tasks."""

    def run(self, job_id: str, step: str) -> None:
        """Run one step of a job to its record in the ledger; blocks, and may be called again for the same.

        It returns for a step that succeeded. All else it tells Celery by what it raises (`workers/outcomes.py`).
        """


class _Detached:
    def run(self, job_id: str, step: str) -> None:
        raise RuntimeError(f"step {step} of job {job_id} reached a process without a worker runtime")


_runner: StepRunner = _Detached()


def attach(runner: StepRunner) -> None:
    """Give this process's task bodies the runner of its worker."""
    global _runner
    _runner = runner


_TOLD = (StepFailed, Terminated)
"""Ends of steps that are no fault of the task's: Celery logs them without a traceback."""


@app.task(name=keys.task("memory"), throws=_TOLD)  # type: ignore[untyped-decorator]
def memory(job_id: str) -> None:
    """Answer from what the session has said before."""
    _runner.run(job_id, "memory")


@app.task(name=keys.task("reasoning"), throws=_TOLD)  # type: ignore[untyped-decorator]
def reasoning(job_id: str) -> None:
    """Think step by step, and conclude."""
    _runner.run(job_id, "reasoning")


@app.task(name=keys.task("grammar"), throws=_TOLD)  # type: ignore[untyped-decorator]
def grammar(job_id: str) -> None:
    """Analyse the text, and restate it corrected."""
    _runner.run(job_id, "grammar")


@app.task(name=keys.task("integration"), throws=_TOLD)  # type: ignore[untyped-decorator]
def integration(job_id: str) -> None:
    """Compose the answer from the membranes' outputs."""
    _runner.run(job_id, "integration")


BY_STEP: dict[str, Task] = {
    "memory": memory,
    "reasoning": reasoning,
    "grammar": grammar,
    "integration": integration,
}
