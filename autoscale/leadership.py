"""One controller of any number leads: it holds a lock in the broker that it renews, and that dies with it."""

from __future__ import annotations

import uuid

import redis

from echo_tasks import keys
from echo_tasks.connections import broker_faults
from echo_tasks.scripts import script

REIGN_S = 5
"""How long nobody else leads after a renewal: the time until a dead leader is succeeded."""


class Leadership:
    """One controller's claim to lead. Every method raises BrokerUnavailable."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        """`name` tells people who it is; another controller of the same name is another nevertheless."""
        self.name = f"{name}/{uuid.uuid4().hex[:8]}"
        self._hold = script(client, "hold")
        self._forget = script(client, "forget")

    def hold(self) -> bool:
        """Lead, or go on leading, for REIGN_S seconds; false while another one does."""
        with broker_faults():
            return bool(self._hold(keys=[keys.CONTROLLER], args=[self.name, 1000 * REIGN_S]))

    def leave(self) -> None:
        """Let another one lead at once."""
        with broker_faults():
            self._forget(keys=[keys.CONTROLLER], args=[self.name])
