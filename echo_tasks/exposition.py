"""The metrics of this process as text, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import REGISTRY, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from echo_tasks.serving import Answer

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""The text format alone, and never OpenMetrics, in which no counter may go without `_total`."""


def text(*collectors: Collector) -> bytes:
    """What this process's own registry holds, and the collectors beside it."""
    disable_created_metrics()  # the moment of each counter's first use doubles the text, and nobody asks for it
    return b"".join(map(generate_latest, (REGISTRY, *collectors)))


def answer(*collectors: Collector) -> Answer:
    """The same as a server's answer."""
    return 200, CONTENT_TYPE, text(*collectors)
