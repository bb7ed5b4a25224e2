"""What an OTLP endpoint is sent, as tests read it: spans, their parents, links and attributes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent

from bench import sink

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(frozen=True)
class Received:
    """One span; ids are in hexadecimal, as W3C writes them."""

    service: str
    instance: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    began_ns: int
    ended_ns: int
    attributes: dict[str, Any]
    events: dict[str, int]
    links: frozenset[tuple[str, str]]
    has_failed: bool

    @property
    def place(self) -> tuple[str, str]:
        return self.trace_id, self.span_id


@dataclass
class Collector:
    """All spans so far, as they came."""

    url: str = ""
    spans: list[Received] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        found = [
            _received(span, {pair.key: pair.value.string_value for pair in of.resource.attributes})
            for of in request.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self.bodies.append(body)
            self.spans += found

    def of_job(self, job_id: str) -> list[Received]:
        """The spans of every trace that a span of this job is in."""
        with self._lock:
            spans = list(self.spans)
        traces = {span.trace_id for span in spans if span.attributes.get("echo.job_id") == job_id}
        return [span for span in spans if span.trace_id in traces]

    def named(self, name: str) -> list[Received]:
        with self._lock:
            return [span for span in self.spans if span.name == name]


@contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """An endpoint that listens until the block ends."""
    collector = Collector()
    with sink.listening(collector.take, port) as collector.url:
        yield collector


def _received(span: Sent, resource: dict[str, str]) -> Received:
    return Received(
        service=resource["service.name"],
        instance=resource["service.instance.id"],
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        attributes={pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes},
        events={event.name: event.time_unix_nano for event in span.events},
        links=frozenset((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        has_failed=span.status.code == 2,
    )
