"""What a span is to those who make one, and what they have where there are no traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, Literal, Protocol

Kind = Literal["server", "producer", "consumer", "internal"]

Trace = Mapping[str, str]
"""Where in which trace something belongs: W3C's headers `traceparent` and, where there is one, `tracestate`."""

Value = str | bool | int | float | None
"""Of an attribute; None is left out."""

HEADERS = ("traceparent", "tracestate")

NO_TRACE: Trace = MappingProxyType({})


class Headers(Protocol):
    """What a request or a message carries by name, whatever the case of the name is."""

    def get(self, name: str, /) -> Any: ...


class Span(Protocol):
    """A part of a trace: what took from when to when."""

    @property
    def is_recorded(self) -> bool:
        """Whether what it is told is kept: its trace is sampled."""

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Tell something of it."""

    def event(self, name: str, at_ns: int) -> None:
        """Tell of a moment in it, by `time.time_ns`."""

    def link(self, trace: Trace) -> None:
        """Tell of something elsewhere that it has to do with."""

    def fail(self, kind: str) -> None:
        """Tell that it did not do what it was for; never why in words, which may be a client's."""


class Tracer(Protocol):
    """Makes spans."""

    def span(
        self,
        name: str,
        kind: Kind,
        of: Trace,
        caller: Trace,
        attributes: Mapping[str, Value],
        began_ns: int | None,
    ) -> AbstractContextManager[Span]: ...

    def linking(
        self, name: str, spans: Sequence[Span], attributes: Mapping[str, Value], began_ns: int, ended_ns: int
    ) -> None: ...

    def active(self) -> Span: ...

    def current(self) -> Trace: ...

    def ids(self) -> Mapping[str, str]: ...

    def stop(self) -> None: ...


class NoSpan:
    """Of nothing that is traced."""

    is_recorded = False

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Forget it."""

    def event(self, name: str, at_ns: int) -> None:
        """Forget it."""

    def link(self, trace: Trace) -> None:
        """Forget it."""

    def fail(self, kind: str) -> None:
        """Forget it."""


NO_SPAN = NoSpan()

_NOTHING: AbstractContextManager[Span] = nullcontext(NO_SPAN)


class NoTracer:
    """Of a process that makes no traces."""

    def span(self, *_: object) -> AbstractContextManager[Span]:
        """None."""
        return _NOTHING

    def linking(self, *_: object) -> None:
        """None."""

    def active(self) -> Span:
        """None."""
        return NO_SPAN

    def current(self) -> Trace:
        """None."""
        return NO_TRACE

    def ids(self) -> Mapping[str, str]:
        """None."""
        return NO_TRACE

    def stop(self) -> None:
        """There is nothing to send."""
