"""Metrics that are the whole farm's and not this process's: asked of the ledger whenever they are read."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from echo_tasks import logs
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.sessions import Sessions
from echo_tasks.telemetry.sessions import ACTIVE_SESSIONS

log = logs.get(__name__)


class SessionGauges(Collector):
    """The live sessions; no number at all while the broker is away."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            count = self._sessions.count()
        except BrokerUnavailable as error:
            log.warning("sessions not counted", error=str(error))
            return
        for name in ACTIVE_SESSIONS:
            yield GaugeMetricFamily(name, "Sessions that are live and count against MAX_CONCURRENT_SESSIONS.", count)
