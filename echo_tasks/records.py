"""A job's record as Redis keeps it, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from echo_tasks import keys, logs, versions
from echo_tasks.messages import Job, JobError, JobResult, JobSpec, JobStatus, Past, Stamp, StepOutput

log = logs.get(__name__)


def spec_of(text: str, turns: str | None, gone: str | None, digest: str | None, memories: str | None) -> JobSpec:
    """A job's spec, which is fixed when it is accepted, with its past, which is when it is let go."""
    past = Past(turns=int(turns or 0), gone=int(gone or 0), digest=digest or "", memories=memories or "")
    return JobSpec.model_validate_json(text).model_copy(update={"past": past})


def readable_spec(parts: Sequence[str | None]) -> JobSpec | None:
    """`spec_of` its parts; None for one that cannot be read, whose job ends when somebody takes up its steps."""
    try:
        return spec_of(*parts)  # type: ignore[arg-type]
    except (LookupError, TypeError, ValueError):
        log.warning("a job's record cannot be read")
        return None


def whole_spec(record: Mapping[str, str]) -> JobSpec:
    """The spec with its past that a whole record holds. Raises RecordTooNew."""
    versions.check(record.get("version"))
    return spec_of(record["spec"], *(record.get(f"past_{name}") for name in Past.model_fields))


def outputs(record: Mapping[str, str]) -> dict[str, StepOutput]:
    """What the membranes of a job have left behind so far."""
    found = {name: record.get(f"output:{name}") for name in keys.MEMBRANES}
    return {name: StepOutput.model_validate_json(text) for name, text in found.items() if text is not None}


def stamp(record: Mapping[str, str]) -> Stamp | None:
    """What a job's answer is to be kept with; None: it is not to be kept."""
    return tuple((tag, version) for tag, version in json.loads(record["stamp"])) if "stamp" in record else None


def job(job_id: str, record: Mapping[str, str]) -> Job:
    """The job as clients see it."""
    spec = json.loads(record["spec"])
    return Job(
        job_id=job_id,
        session_id=spec["session_id"],
        status=JobStatus(record["status"]),
        priority=spec["priority"],
        created_at=float(record["created_at"]),
        started_at=_seconds(record.get("started_at")),
        finished_at=_seconds(record.get("finished_at")),
        attempts=max((int(n) for f, n in record.items() if f.startswith("deliveries:")), default=0),
        result=JobResult.model_validate_json(record["result"]) if "result" in record else None,
        error=JobError.model_validate_json(record["error"]) if "error" in record else None,
        replay_of=spec.get("replay_of"),
        owner=record.get("owner", ""),
    )


def _seconds(text: str | None) -> float | None:
    return None if text is None else float(text)
