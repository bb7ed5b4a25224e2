"""kombu's Redis transport, mended where a worker would die of it."""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from redis.exceptions import ConnectionError as RedisConnectionError

from echo_tasks import holding


class _Mended:
    """What holds messages as we want it (`holding.py`), and survives being closed twice.

    When the broker goes away under a worker that holds messages, kombu 5.7 closes the channel a second time
    after its connection has been let go; restoring the messages then reads an attribute of None, and that
    AttributeError ends the worker. As a connection's error it is what every caller there expects.
    """

    connection: Any
    QoS = holding.QoS

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection.client is None:
            raise RedisConnectionError("the connection has been closed")
        return super()._connparams(asynchronous)  # type: ignore[misc]


class Channel(_Mended, redis.Channel):
    """A channel to one server."""


class SentinelChannel(_Mended, redis.SentinelChannel):
    """A channel to whichever server is the primary."""


class Transport(redis.Transport):
    """The Redis transport with our channel."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """The same for a broker that sentinels watch."""

    Channel = SentinelChannel


def install() -> None:
    """Have the schemes of our URLs mean these transports."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"
