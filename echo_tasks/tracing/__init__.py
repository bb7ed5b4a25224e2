"""Traces: what a job's way through the farm leaves for OpenTelemetry, and the one seam to it.

Where the settings name no endpoint, nothing of OpenTelemetry is loaded, and all that is asked here costs next to
nothing. A job's trace is that of the request which asked for it. It travels in the messages of its steps, and is in its
record, for whoever publishes them again or lets it go later. Only a request begins a trace; whether that is recorded is
decided there, once.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from echo_tasks import logs
from echo_tasks.settings import Settings
from echo_tasks.tracing.spans import HEADERS, NO_SPAN, NO_TRACE, Headers, Kind, NoTracer, Span, Trace, Tracer, Value

__all__ = [
    "NO_SPAN",
    "NO_TRACE",
    "Span",
    "Trace",
    "Value",
    "active",
    "carried",
    "current",
    "ids",
    "is_on",
    "linking",
    "span",
    "start",
    "stop",
]

_OFF = NoTracer()
_tracer: Tracer = _OFF


def start(settings: Settings, service: str, instance: str = "") -> None:
    """Make traces in this process from now on, where the settings say whither; after any fork, and once."""
    global _tracer
    if settings.otel_exporter_otlp_endpoint is not None:
        # Loaded here and nowhere else: a process without traces pays nothing for them.
        _tracer = importlib.import_module("echo_tasks.tracing.sdk").SdkTracer(settings, service, instance)
        logs.add_fields(ids)


def stop() -> None:
    """Send what is left, and make no more. Blocks for some seconds at most."""
    global _tracer
    tracer, _tracer = _tracer, _OFF
    tracer.stop()


def is_on() -> bool:
    """Whether this process makes traces."""
    return _tracer is not _OFF


def span(
    name: str,
    kind: Kind = "internal",
    *,
    of: Trace = NO_TRACE,
    caller: Trace = NO_TRACE,
    attributes: Mapping[str, Value] = NO_TRACE,
    began_ns: int | None = None,
) -> AbstractContextManager[Span]:
    """A span of what is done meanwhile, in the trace `of`; it is the current one, and an exception is its failure.

    Its parent is the caller, or else the span that is current, if that is of the same trace; if it is of another one,
    as that of the job before in a session, it is linked. Where neither is known there is none, but for a request.
    """
    return _tracer.span(name, kind, of, caller, attributes, began_ns)


def linking(name: str, spans: Sequence[Span], *, attributes: Mapping[str, Value], began_ns: int, ended_ns: int) -> None:
    """Record what was done for several at once, and is of no one's trace. For one thread."""
    _tracer.linking(name, spans, attributes, began_ns, ended_ns)


def carried(headers: Headers) -> Trace:
    """The place that headers carry, of a request or of a message."""
    return {name: value for name in HEADERS if (value := headers.get(name)) is not None}


def active() -> Span:
    """The span that is current."""
    return _tracer.active()


def current() -> Trace:
    """The place of the span that is current, for a message or an answer to carry."""
    return _tracer.current()


def ids() -> Mapping[str, str]:
    """`trace_id` and `span_id` of the span that is current, for logs."""
    return _tracer.ids()
