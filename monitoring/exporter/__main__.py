"""`python -m monitoring.exporter`: tells Prometheus of Celery and of the farm until it is told to end."""

from __future__ import annotations

import signal

from prometheus_client import CollectorRegistry

from echo_tasks import connections, exposition, guard, logs
from echo_tasks.errors import SettingsError, exit_misconfigured
from echo_tasks.registry import Registry
from echo_tasks.serving import Server
from echo_tasks.settings import Settings, current
from echo_tasks.telemetry.celery import CeleryMetrics
from echo_tasks.telemetry.exporter import ExporterMetrics
from monitoring.exporter import discovery, health
from monitoring.exporter.events import EventStream
from monitoring.exporter.hearing import Hearing
from monitoring.exporter.jobs import Jobs
from monitoring.exporter.queues import Queues
from monitoring.exporter.scrape import BROKER, STORE, Scrape
from monitoring.exporter.servers import Servers

_STOPPING = {signal.SIGTERM, signal.SIGINT}


def main(settings: Settings) -> None:
    """Run until a signal says to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    logs.configure()
    broker, store = connections.impatient(settings.broker), connections.impatient(settings.store)
    if not guard.check(broker):
        guard.watch(broker)
    heard = CollectorRegistry()
    own = ExporterMetrics(heard)
    hearing = Hearing(CeleryMetrics(heard), own)
    registry = Registry(broker)
    events = EventStream(settings.broker, hearing, own, lambda: bool(registry.live()))
    queues = Queues(broker, lambda: hearing.tasks.queues)
    scrape = Scrape(Servers({BROKER: broker, STORE: store}), registry, queues, Jobs(broker))
    answers = {
        "/metrics": lambda: exposition.answer(heard, scrape),
        "/health": lambda: health.answer(scrape.fault(), is_heard=events.is_heard),
        "/targets": lambda: discovery.answer(registry.live),
    }
    try:
        server = Server(settings.exporter_address, settings.exporter_port, answers)
    except OSError as error:
        place = f"EXPORTER_ADDRESS={settings.exporter_address} EXPORTER_PORT={settings.exporter_port}"
        exit_misconfigured(SettingsError([f"{place}: {error.strerror}"]))
    server.start()
    events.start()
    signal.sigwait(_STOPPING)
    server.stop()
    events.stop()


if __name__ == "__main__":
    main(current())
