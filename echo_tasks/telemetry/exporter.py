"""The exporter itself: how well it hears Celery."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class ExporterMetrics:
    """What an exporter tells of itself, in the registry that it is made for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter("echo_exporter_events", "Celery events heard, by type.", ["type"], registry=registry)
        self.refused = Counter(
            "echo_exporter_events_refused",
            "Events that do not count, or not under their own label, by reason: garbage (not to be read), type (of no "
            "known type), form (it lacks what its type has), names, hostnames, queues, exceptions (too many distinct "
            "ones: those beyond are `other`).",
            ["reason"],
            registry=registry,
        )
        self.last_event = Gauge(
            "echo_exporter_last_event_timestamp_seconds",
            "When the latest event was heard, by this machine's clock; 0 for never.",
            registry=registry,
        )
        self.connected = Gauge("echo_exporter_connected", "1 while Celery's events are heard.", registry=registry)
        self.reconnects = Counter(
            "echo_exporter_reconnects", "Times that the stream of events was begun anew.", registry=registry
        )
