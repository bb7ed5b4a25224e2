"""What all messages have in common: how strict they are, and the kinds of their fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from echo_tasks import versions

STOP_STRING_MAX_BYTES = 256


def _encodable(text: str) -> str:
    """JSON can spell half of a surrogate pair, which is no character and has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"character {error.start} is an unpaired surrogate") from None
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("text is blank")
    return text


def _short_in_bytes(text: str) -> str:
    if len(text.encode()) > STOP_STRING_MAX_BYTES:
        raise ValueError(f"longer than {STOP_STRING_MAX_BYTES} bytes of UTF-8")
    return text


def distinct(items: list[Any]) -> list[Any]:
    """The items, if no two are equal; raises ValueError."""
    if len(set(items)) != len(items):
        raise ValueError("items must differ")
    return items


InitialState = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
StopString = Annotated[str, Field(min_length=1), AfterValidator(_encodable), AfterValidator(_short_in_bytes)]
TimeoutS = Annotated[
    int | None, Field(ge=1, le=86400, description="seconds, in line and running, after which the job fails")
]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
InputText = Annotated[
    str, Field(min_length=1, max_length=32768), AfterValidator(_encodable), AfterValidator(_not_blank)
]
Stamp = tuple[tuple[str, str], ...]
"""Tags, each with the version that it had at some time."""


class Message(BaseModel):
    """Base of what clients ask for: strict types, unknown fields refused, by old workers too.

    Errors do not repeat what was said: they end up in logs.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @model_serializer(mode="wrap")
    def _without_the_unsaid(self, whole: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def] # or its schema is lost
        """What came with a later version is written where it says something: older processes can read the rest.

        So do equal requests have equal fingerprints, and equal answers' keys, in all releases.
        """
        unsaid = versions.unsaid(self)
        return {name: value for name, value in whole(self).items() if name not in unsaid}


class Stored(BaseModel):
    """Base of what processes leave for one another: a newer writer's extra fields are no reader's concern."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, hide_input_in_errors=True)
