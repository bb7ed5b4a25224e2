"""What a message has to be before a worker takes it up: one as we make them, or it is dropped.

A broker's lists take anything. What is no message ends a consumer as kombu reads it; what somebody else has made may
hold a slot until some far moment, or end in a traceback. Nothing that was accepted is lost with it: the ledger knows
every step, and has its message published again.
"""

from __future__ import annotations

import binascii
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from echo_tasks import keys

_TASKS = frozenset(map(keys.task, keys.STEPS))

LONGEST_BODY_BYTES = 4096
"""A body names a job, and nothing else."""


def _known(task: str) -> str:
    if task not in _TASKS:
        raise ValueError("no task of ours")
    return task


Name = Annotated[str, Field(min_length=1, max_length=255)]
JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class _Part(BaseModel):
    """Part of a message; what else is in it, such as a trace's own words, is no concern of ours."""

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class _Info(_Part):
    exchange: str
    routing_key: str


class _Properties(_Part):
    delivery_tag: Name
    delivery_info: _Info
    body_encoding: Literal["base64"]
    correlation_id: str | None = None
    reply_to: str | None = None


class _Plain(_Part):
    """Whatever one process of Celery's says to another, such as a remote command."""

    body: str
    headers: dict[str, Any]
    properties: _Properties


class _Headers(_Part):
    id: Name
    task: Annotated[str, AfterValidator(_known)]
    lang: Literal["py"]
    root_id: Name | None = None
    parent_id: Name | None = None
    group: None = None
    eta: None = None
    expires: None = None
    shadow: None = None
    compression: None = None
    retries: Literal[0] = 0
    timelimit: Annotated[list[None], Field(max_length=2)] | None = None
    argsrepr: str = ""
    kwargsrepr: str = ""
    stamped_headers: None = None
    stamps: Annotated[dict[str, Any], Field(max_length=0)] = Field(default_factory=dict)
    traceparent: str | None = None
    tracestate: str | None = None


class _Task(_Plain):
    """The message of a step."""

    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")
    body: Annotated[str, Field(max_length=LONGEST_BODY_BYTES)]
    headers: _Headers  # type: ignore[assignment]


class _Embedded(_Part):
    """What Celery would do after a task: nothing, ever."""

    callbacks: None = None
    errbacks: None = None
    chain: None = None
    chord: None = None


_ARGUMENTS: TypeAdapter[Any] = TypeAdapter(
    tuple[tuple[JobId], Annotated[dict[str, Any], Field(max_length=0)], _Embedded],
    config=ConfigDict(strict=True, hide_input_in_errors=True),
)


def fault_of(message: Any, queue: str) -> str | None:
    """What is wrong with a message, in words that repeat nothing of it; None for one to be taken up."""
    try:
        if not queue.startswith(keys.QUEUES):
            _Plain.model_validate(message)
            return None
        task = _Task.model_validate(message)
        _ARGUMENTS.validate_json(binascii.a2b_base64(task.body, strict_mode=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
    except binascii.Error:
        return "body: not base64"
    return None
