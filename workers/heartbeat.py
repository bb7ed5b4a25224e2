"""The worker's heartbeat: a thread that renews its record in the registry, whatever the event loop does."""

from __future__ import annotations

import threading
from collections.abc import Callable

from echo_tasks import logs
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.messages import WorkerRecord
from echo_tasks.registry import HEARTBEAT_S, Registry

log = logs.get(__name__)


class Heartbeat:
    """Announces one worker until it is stopped."""

    def __init__(self, registry: Registry, node: str, record: Callable[[], WorkerRecord]) -> None:
        """`record` tells of the node as it is at the moment."""
        self._registry = registry
        self._node = node
        self._record = record
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
                self._registry.announce(self._record())
            except BrokerUnavailable as error:
                log.warning("heartbeat missed", error=str(error))
            except Exception:  # the outermost loop of the thread
                log.exception("heartbeat missed")
            self._stopped.wait(HEARTBEAT_S)
