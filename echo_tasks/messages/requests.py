"""What clients ask for."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from echo_tasks.keys import MEMBRANES, Membrane
from echo_tasks.messages.forms import InitialState, InputText, Message, SessionId, StopString, Tag, TimeoutS, distinct


class Options(Message):
    """How each generation of a job begins and samples. `temperature` 0 is greedy; `top_k` 0 is no limit."""

    max_tokens: int = Field(64, ge=1, le=4096)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(0.9, ge=0, le=1)
    top_k: int = Field(0, ge=0, le=65536)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    penalty_decay: float = Field(0.996, ge=0, le=1)
    seed: int | None = Field(None, ge=0, le=2**63 - 1)
    stop: list[StopString] = Field(default_factory=list, max_length=4)
    initial_state: InitialState | None = Field(None, description="a tuned state that prompts begin in, by name")


class JobRequest(Message):
    """A cognitive job as a client asks for it."""

    input_text: InputText
    session_id: SessionId | None = None
    membranes: Annotated[list[Membrane], Field(min_length=1), AfterValidator(distinct)] = Field(
        default_factory=lambda: list(MEMBRANES)
    )
    priority: int = Field(1, ge=1, le=10, description="10 is served first")
    options: Options = Options()
    cache: bool = True
    timeout_s: TimeoutS = None
    tags: Annotated[list[Tag], Field(max_length=16), AfterValidator(distinct)] = Field(default_factory=list)


class ProcessingOptions(Options):
    """`processing_options` of the synchronous route: the sampling options, which membranes, cache, and how long."""

    membranes: Annotated[list[Membrane], Field(min_length=1), AfterValidator(distinct)] = Field(
        default_factory=lambda: list(MEMBRANES)
    )
    cache: bool = True
    timeout_s: TimeoutS = None


class ProcessRequest(Message):
    """The body of POST /api/cognitive/process."""

    input_text: InputText
    session_id: SessionId | None = None
    processing_options: ProcessingOptions = ProcessingOptions()
    priority: int = Field(1, ge=1, le=10, description="10 is served first")

    def as_job(self) -> JobRequest:
        """The same request in the asynchronous route's words."""
        sampling = {name: getattr(self.processing_options, name) for name in Options.model_fields}
        job = JobRequest(
            input_text=self.input_text,
            session_id=self.session_id,
            membranes=self.processing_options.membranes,
            options=Options(**sampling),
            cache=self.processing_options.cache,
            timeout_s=self.processing_options.timeout_s,
        )
        return job.model_copy(update={"priority": self.priority}) if "priority" in self.model_fields_set else job
