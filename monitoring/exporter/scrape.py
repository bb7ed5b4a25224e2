"""What is read when Prometheus asks: servers first, and of a broker that answers all the rest."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from echo_tasks import logs
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.registry import Registry
from monitoring.exporter import instances, servers
from monitoring.exporter.jobs import Jobs
from monitoring.exporter.queues import Queues
from monitoring.exporter.servers import Servers

BROKER, STORE = "broker", "store"

log = logs.get(__name__)


class Scrape(Collector):
    """Reads the farm anew each time. Threads may share it."""

    def __init__(self, asked: Servers, registry: Registry, queues: Queues, jobs: Jobs) -> None:
        self._servers = asked
        self._registry = registry
        self._queues = queues
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        """What there is to know; of a broker that is away, that it is."""
        told = self._servers.look()
        yield from servers.families(told)
        if told[BROKER]:
            try:
                yield from self._of_broker()
            except BrokerUnavailable as error:
                log.warning("broker went away while it was read", error=str(error))

    def fault(self) -> str:
        """Why the farm cannot be read now; empty when it can."""
        try:
            for _ in self._of_broker():
                pass
        except BrokerUnavailable as error:
            return f"the broker does not answer: {error.reason}"
        return ""

    def _of_broker(self) -> Iterator[Metric]:
        now, records = self._registry.snapshot()
        yield from instances.families(records)
        yield from self._queues.families(records)
        yield from self._jobs.families(now)
