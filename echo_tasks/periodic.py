"""A thread that does one thing again and again, whatever the event loop and the engine do."""

from __future__ import annotations

import threading
from collections.abc import Callable

from echo_tasks import logs
from echo_tasks.errors import BrokerUnavailable

AFTER_FAULT_S = 0.5
"""The pause after a fault of the broker, where the usual one is longer."""

STOPPING_S = 0.5

log = logs.get(__name__)


class Periodic:
    """Calls `act` every `every_s` seconds until it is stopped; faults are logged, and it is called again."""

    def __init__(self, name: str, act: Callable[[], object], every_s: float) -> None:
        self._name = name
        self._act = act
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> bool:
        """End the thread after its current call; whether it has ended.

        Blocks for a moment only: a call that waits for a broker that is away must not hold up a shutdown.
        """
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(STOPPING_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause_s, is_away = 0.0, False
        while not self._stopped.wait(pause_s):
            pause_s = self._every_s
            try:
                self._act()
                is_away = False
            except BrokerUnavailable as error:
                pause_s = min(AFTER_FAULT_S, self._every_s)
                if not is_away:  # once an outage
                    log.warning(f"{self._name} waits for the broker", error=str(error))
                is_away = True
            except Exception:  # the outermost loop of the thread
                log.exception(f"{self._name} failed")
