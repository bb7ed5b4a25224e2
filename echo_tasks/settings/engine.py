"""A worker: its model, its slots, and how it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field

from echo_tasks.liveness import Liveness
from echo_tasks.settings.kinds import MOST_SLOTS, StatesByStep


class Engine(BaseModel):
    """What one worker is made of."""

    echo_model: Path | None = Field(None, description="official RWKV-7 checkpoint (.pth); unset: the bundled echo-mini")
    echo_vocab: Path | None = Field(
        None,
        description="the checkpoint's vocabulary; unset: NAME.vocab.txt beside NAME.pth, else the World vocabulary",
    )
    echo_device: Literal["cpu", "cuda"] | None = Field(
        None, description="what the engine runs on; unset: the first CUDA GPU that torch sees, else the CPU"
    )
    echo_dtype: Literal["fp32", "bf16", "fp16"] | None = Field(
        None,
        description="number format of the weights; fp16 is for GPUs alone; unset: the checkpoint's own where the "
        "processor multiplies it, else fp32",
    )
    echo_kernels: Literal["fused", "plain"] = Field(
        "fused", description="what runs the model's layers: compiled kernels, or torch alone"
    )
    echo_threads: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="threads of the engine; unset: up to the cores that the process may use, by a measurement",
    )
    echo_slots: int | None = Field(
        None,
        ge=1,
        le=MOST_SLOTS,
        description="steps of jobs that one worker runs at a time; unset: as many as the load needs, up to 64 and to "
        "what fits into memory",
    )
    echo_tpot_ms: float | None = Field(
        None,
        ge=0.1,
        description="milliseconds that each token of a step may take on average: a worker runs no more steps at a time "
        "than keep to that, if ECHO_SLOTS is unset; unset: no bound",
    )
    echo_states_mb: int = Field(
        256, ge=1, description="megabytes of a worker's memory for states; what is sure to be wanted stays longest"
    )
    echo_state_format: Literal["fp32", "fp16"] = Field(
        "fp32", description="number format of WKV states that are kept; fp16 halves them"
    )
    echo_initial_states: Path | None = Field(
        None, description="folder of tuned initial states of the model, each a NAME.pth; unset: there are none"
    )
    echo_membrane_states: StatesByStep = Field(
        "", description="initial states of membranes and integration, as in memory=NAME,reasoning=NAME"
    )
    echo_grace_s: float = Field(
        3, ge=0, le=3600, description="seconds that a stopping worker gives running steps before it hands them back"
    )
    echo_lease_s: float = Field(
        6,
        ge=1,
        le=600,
        description="seconds without a renewal after which a worker's steps run elsewhere; heartbeats and the reaper's "
        "rounds are in proportion; the same for all processes of a farm",
    )
    echo_visibility_s: float = Field(
        15, ge=1, le=3600, description="seconds of silence after which what a dead worker held goes to another"
    )
    echo_max_prompt_tokens: int = Field(
        32768, ge=16, le=1048576, description="longest prompt, in tokens; more ends the step with an error"
    )
    worker_metrics_address: str = Field(
        "127.0.0.1", min_length=1, description="address that a worker binds, for its metrics and health"
    )
    worker_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="its port, for one worker alone; 0: a free one, which the worker's record names",
    )
    max_retry_attempts: int = Field(
        3, ge=1, le=100, description="times that a step is tried which fails in passing, or of which its workers die"
    )

    @property
    def liveness(self) -> Liveness:
        """The times by which a silent worker counts as dead."""
        return Liveness(self.echo_lease_s)

    @property
    def states_by_step(self) -> dict[str, str]:
        """The names of the initial states that steps begin in, by step."""
        pairs = (pair.partition("=") for pair in self.echo_membrane_states.split(",") if pair.strip())
        return {step.strip(): state.strip() for step, _, state in pairs}
