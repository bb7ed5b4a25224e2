"""The metrics of this process as text, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import REGISTRY, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from echo_tasks import __version__
from echo_tasks.serving import Answer
from echo_tasks.telemetry.build import BUILD_INFO
from echo_tasks.telemetry.container import Container
from echo_tasks.telemetry.documented import COUNTERS

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The text format alone, and never OpenMetrics: there no counter may go without `_total`."""


def text(*collectors: Collector) -> bytes:
    """What this process's own registry holds, its container, and the collectors beside them."""
    BUILD_INFO.labels(__version__).set(1)
    disable_created_metrics()  # when each counter was made: it doubles the text, and nobody asks for it
    whole = b"".join(generate_latest(one) for one in (REGISTRY, Container(), *collectors))
    for name in COUNTERS:
        whole = whole.replace(f"# TYPE {name} untyped\n".encode(), f"# TYPE {name} counter\n".encode())
    return whole


def answer(*collectors: Collector) -> Answer:
    """The same as a server's answer."""
    return 200, CONTENT_TYPE, text(*collectors)
