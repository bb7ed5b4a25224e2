"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP. Loaded only where traces are made."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from echo_tasks import __version__
from echo_tasks.settings import Settings
from echo_tasks.tracing.sending import Sending
from echo_tasks.tracing.spans import NO_SPAN, Kind, Span, Trace, Value

_W3C = TraceContextTextMapPropagator()

ROW_NS = 5_000_000_000
"""For so long all that is of no one's trace is of one of its own, below its first: else each step were a trace."""

_KINDS: dict[Kind, SpanKind] = {
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
    "internal": SpanKind.INTERNAL,
}


class SdkSpan:
    """A span of OpenTelemetry's."""

    __slots__ = ("span",)

    def __init__(self, span: trace.Span) -> None:
        self.span = span

    @property
    def is_recorded(self) -> bool:
        return self.span.is_recording()

    def set(self, attributes: Mapping[str, Value]) -> None:
        self.span.set_attributes(_told(attributes))

    def event(self, name: str, at_ns: int) -> None:
        self.span.add_event(name, timestamp=at_ns)

    def link(self, trace: Trace) -> None:
        if (there := _place(trace)).is_valid:
            self.span.add_link(there)

    def fail(self, kind: str) -> None:
        self.span.set_attribute("error.type", kind)
        self.span.set_status(Status(StatusCode.ERROR))


class SdkTracer:
    """Makes the spans of one process. Threads and greenlets may share it."""

    def __init__(self, settings: Settings, service: str, instance: str) -> None:
        # It says of every batch that failed, in one line; of each of its tries, too, unless it is told not to.
        logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)
        endpoint = f"{(settings.otel_exporter_otlp_endpoint or '').rstrip('/')}/v1/traces"
        self._sending = Sending(OTLPSpanExporter(endpoint=endpoint))
        self._resource = Resource.create(
            {
                "service.name": settings.otel_service_name or service,
                "service.version": __version__,
                "service.instance.id": instance or socket.gethostname(),
                "host.name": socket.gethostname(),
            }
        )
        self._tracer = self._made_by(ParentBased(TraceIdRatioBased(settings.otel_traces_sampler_arg)))
        self._linker = self._made_by(ALWAYS_ON)  # what is linked was sampled
        self._row, self._row_ends_ns = Context(), 0

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind,
        of: Trace,
        caller: Trace,
        attributes: Mapping[str, Value],
        began_ns: int | None,
    ) -> Iterator[Span]:
        own = _place(of)
        nearest = _place(caller) if caller else trace.get_current_span().get_span_context()
        is_elsewhere = own.is_valid and nearest.trace_id != own.trace_id
        parent = own if is_elsewhere else nearest
        if not parent.is_valid and kind != "server":
            yield NO_SPAN
            return
        span = self._tracer.start_span(
            name,
            trace.set_span_in_context(NonRecordingSpan(parent), Context()),
            kind=_KINDS[kind],
            attributes=_told(attributes),
            links=[Link(nearest)] if is_elsewhere and nearest.is_valid else (),
            start_time=began_ns,
        )
        token = context.attach(trace.set_span_in_context(span))
        made = SdkSpan(span)
        try:
            yield made
        except Exception as error:
            made.fail(type(error).__qualname__)
            raise
        finally:
            context.detach(token)
            span.end()

    def linking(
        self, name: str, spans: Sequence[Span], attributes: Mapping[str, Value], began_ns: int, ended_ns: int
    ) -> None:
        links = [Link(one.span.get_span_context()) for one in spans if isinstance(one, SdkSpan)]
        if began_ns >= self._row_ends_ns:
            self._row, self._row_ends_ns = Context(), began_ns + ROW_NS
        made = self._linker.start_span(name, self._row, attributes=_told(attributes), links=links, start_time=began_ns)
        made.end(ended_ns)
        if not self._row:
            self._row = trace.set_span_in_context(made, self._row)

    def active(self) -> Span:
        return SdkSpan(trace.get_current_span())

    def current(self) -> Trace:
        carried: dict[str, str] = {}
        _W3C.inject(carried)
        return carried

    def ids(self) -> Mapping[str, str]:
        here = trace.get_current_span().get_span_context()
        if not here.is_valid:
            return {}
        return {"trace_id": trace.format_trace_id(here.trace_id), "span_id": trace.format_span_id(here.span_id)}

    def stop(self) -> None:
        self._sending.stop()

    def _made_by(self, sampler: Sampler) -> trace.Tracer:
        provider = TracerProvider(sampler=sampler, resource=self._resource, shutdown_on_exit=False)
        provider.add_span_processor(self._sending)
        return provider.get_tracer("echo_tasks", __version__)


def _place(carried: Trace) -> SpanContext:
    """The place that was carried; an invalid one where there is none, or nonsense."""
    return trace.get_current_span(_W3C.extract(carried, Context())).get_span_context()


def _told(attributes: Mapping[str, Value]) -> dict[str, str | bool | int | float]:
    return {name: value for name, value in attributes.items() if value is not None}
