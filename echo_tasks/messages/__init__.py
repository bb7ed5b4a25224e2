"""What processes say to one another: jobs, steps' outputs, results, workers' words about themselves."""

from echo_tasks.messages.answers import JobError, JobResult, MemoryDraft, MemoryType, StepOutput, Turn, Usage
from echo_tasks.messages.forms import (
    STOP_STRING_MAX_BYTES,
    InitialState,
    InputText,
    Message,
    SessionId,
    Stamp,
    StopString,
    Stored,
    Tag,
    TimeoutS,
    distinct,
)
from echo_tasks.messages.jobs import DeadLetter, Job, JobSpec, JobStatus, Lease, Past
from echo_tasks.messages.requests import JobRequest, Options, ProcessingOptions, ProcessRequest
from echo_tasks.messages.scaling import ScalingEvent, ScalingState
from echo_tasks.messages.workers import Amount, Count, StepCount, WorkerRecord

__all__ = [
    "STOP_STRING_MAX_BYTES",
    "Amount",
    "Count",
    "DeadLetter",
    "InitialState",
    "InputText",
    "Job",
    "JobError",
    "JobRequest",
    "JobResult",
    "JobSpec",
    "JobStatus",
    "Lease",
    "MemoryDraft",
    "MemoryType",
    "Message",
    "Options",
    "Past",
    "ProcessRequest",
    "ProcessingOptions",
    "ScalingEvent",
    "ScalingState",
    "SessionId",
    "Stamp",
    "StepCount",
    "StepOutput",
    "StopString",
    "Stored",
    "Tag",
    "TimeoutS",
    "Turn",
    "Usage",
    "WorkerRecord",
    "distinct",
]
