"""Whose answers the farm gives now: those of its live workers, if they are of one mind."""

from __future__ import annotations

import time

from echo_tasks.registry import Registry

_GOOD_FOR_S = 2.0


class Minds:
    """What the live workers would answer with, as one id; looked up again every two seconds."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._answers_id: str | None = None
        self._looked_at = float("-inf")

    def answers_id(self) -> str | None:
        """None without a live worker, or with workers that would answer differently. Raises BrokerUnavailable."""
        now = time.monotonic()
        if now - self._looked_at > _GOOD_FOR_S:
            served = {worker.answers_id for worker in self._registry.live()}
            self._answers_id = served.pop() if len(served) == 1 else None
            self._looked_at = now
        return self._answers_id
