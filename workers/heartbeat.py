"""The worker's heartbeat: a thread that renews its record in the registry, and hears whether it is to drain."""

from __future__ import annotations

import threading

from echo_tasks import logs
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.registry import Registry
from workers.draining import Draining
from workers.vitals import Vitals

log = logs.get(__name__)


class Heartbeat:
    """Announces one worker until it is stopped, whatever its event loop does, and has it drain when it is asked to."""

    def __init__(self, registry: Registry, node: str, vitals: Vitals, draining: Draining) -> None:
        self._registry = registry
        self._node = node
        self._vitals = vitals
        self._draining = draining
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Announce the worker from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and take the record away."""
        self._stopped.set()
        self._thread.join()
        try:
            self._registry.withdraw(self._node)
        except BrokerUnavailable as error:
            log.warning("record left to expire", error=str(error))

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._beat()
            except BrokerUnavailable as error:
                log.warning("heartbeat missed", error=str(error))
            except Exception:  # the outermost loop of the thread
                log.exception("heartbeat missed")
            self._stopped.wait(self._registry.liveness.renewal_s)

    def _beat(self) -> None:
        self._draining.look()
        record = self._vitals.record(draining=self._draining.asked)
        if self._registry.announce(record, self._vitals.up_s) and not self._draining.asked:
            self._draining.asked = True
            self._beat()  # all are to know at once
