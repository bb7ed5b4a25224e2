"""The worker's share in reaping: a thread that reaps, or stands by while another worker does."""

from __future__ import annotations

from echo_tasks import logs
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.periodic import Periodic
from echo_tasks.reaper import Reaper
from echo_tasks.telemetry.reaping import REAPER_ACTIVE, REAPER_ROUNDS

log = logs.get(__name__)


class Reaping:
    """Runs a reaper's rounds until it is stopped."""

    def __init__(self, reaper: Reaper) -> None:
        self._reaper = reaper
        self._thread = Periodic("reaper", self._round, reaper.liveness.round_s)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and let another worker reap at once."""
        if not self._thread.stop():
            return
        try:
            self._reaper.stop()
        except BrokerUnavailable as error:
            log.warning("reign left to expire", error=str(error))

    def _round(self) -> None:
        reaps = False
        try:
            reaps = self._reaper.round()
        finally:
            REAPER_ACTIVE.set(reaps)
            REAPER_ROUNDS.inc(reaps)
