"""Sending spans: in batches, from a thread of its own, and with a count of what was never taken."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from echo_tasks import logs
from echo_tasks.telemetry.tracing import TRACE_SPANS_DROPPED

ROOM = 4096
"""Spans that wait to be sent; more push the oldest out."""

EVERY_MS = 2000

STOPPING_S = 3
"""How long an end of the process waits for an endpoint that does not answer."""

log = logs.get(__name__)


class _Counting(SpanExporter):
    """An exporter that counts what it was given, what of that is on its way, and what was not taken."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.given = self.underway = 0
        self.is_over = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.given += len(spans)
        self.underway = len(spans)
        result = self._exporter.export(spans)
        self.underway = 0
        if result is not SpanExportResult.SUCCESS and not self.is_over:
            TRACE_SPANS_DROPPED.inc(len(spans))
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Sending(BatchSpanProcessor):
    """OpenTelemetry's batches. Whoever ends a span never waits; what there is no room for is dropped, and counted."""

    def __init__(self, exporter: SpanExporter, room: int = ROOM) -> None:
        self._counting = _Counting(exporter)
        self._room = room
        self._lock = threading.Lock()  # guards the two counts
        self._ended = self._pushed_out = 0
        super().__init__(self._counting, max_queue_size=room, schedule_delay_millis=EVERY_MS)

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            with self._lock:
                if self._waiting >= self._room:
                    self._pushed_out += 1
                    TRACE_SPANS_DROPPED.inc()
                self._ended += 1
        super().on_end(span)

    def stop(self) -> None:
        """Send what waits, for STOPPING_S at most."""
        closing = threading.Thread(target=self.shutdown, name="traces end", daemon=True)
        closing.start()
        closing.join(STOPPING_S)
        self._counting.is_over = True
        with self._lock:
            left = self._waiting + self._counting.underway
        if left:
            TRACE_SPANS_DROPPED.inc(left)
            log.warning("spans dropped", spans=left)

    @property
    def _waiting(self) -> int:
        return self._ended - self._pushed_out - self._counting.given
