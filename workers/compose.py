"""Composing a job's result from what its steps left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echo_tasks.messages import JobResult, JobSpec, StepOutput
from workers.membranes.grammar import analyse
from workers.membranes.reasoning import kind_of
from workers.membranes.remembering import memories_of


def compose(
    spec: JobSpec,
    outputs: Mapping[str, StepOutput],
    integration: StepOutput,
    *,
    elapsed_ms: float,
    model_id: str,
    turn_tokens: int,
) -> JobResult:
    """The result of a job whose membranes are `outputs`; a failed one is named, and its text is empty.

    What the user told is remembered whichever membranes answered.
    """
    return JobResult(
        session_id=spec.session_id,
        response_text=integration.text,
        processing_time_ms=round(elapsed_ms, 1),
        membrane_outputs={name: output.text for name, output in outputs.items()},
        cognitive_metadata=_metadata(spec, outputs, integration, model_id),
        usage=sum((output.usage for output in outputs.values()), integration.usage),
        turn_tokens=turn_tokens,
        memories_made=memories_of(spec.input_text),
        memories_used=[memory["id"] for memory in _memories_used(outputs)],
    )


def _memories_used(outputs: Mapping[str, StepOutput]) -> list[dict[str, Any]]:
    return list(outputs["memory"].fields.get("memories_used", [])) if "memory" in outputs else []


def _metadata(
    spec: JobSpec, outputs: Mapping[str, StepOutput], integration: StepOutput, model_id: str
) -> dict[str, Any]:
    memories = _memories_used(outputs)
    return {
        "complexity_detected": analyse(spec.input_text)["complexity"],
        "reasoning_type": kind_of(spec.input_text),
        "memory_integration_level": "high" if len(memories) >= 3 else "medium" if memories else "low",
        "processing_node": integration.node,
        "cache_enabled": spec.cache,
        "model_id": model_id,
        "membranes": {
            name: output.fields | {"node": output.node, "elapsed_ms": output.elapsed_ms}
            for name, output in outputs.items()
        },
        "failed_membranes": {name: output.error for name, output in outputs.items() if output.error is not None},
    }
