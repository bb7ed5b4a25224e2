"""kombu's Redis transport, mended where a worker would die of it."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis
from redis.exceptions import ConnectionError as RedisConnectionError

from echo_tasks import envelopes, holding, logs
from echo_tasks.telemetry.messages import MESSAGES_DROPPED

_UNPARSABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What kombu's reading of JSON raises, whose dates and numbers say themselves what they are."""

log = logs.get(__name__)


class _Mended:
    """What holds messages as we want it (`holding.py`), and survives being closed twice.

    When the broker goes away under a worker that holds messages, kombu 5.7 closes the channel a second time
    after its connection has been let go; restoring the messages then reads an attribute of None, and that
    AttributeError ends the worker. As a connection's error it is what every caller there expects.
    """

    connection: Any
    _closing: bool
    QoS = holding.QoS

    def _connparams(self, asynchronous: bool = False) -> Any:
        if self.connection.client is None:
            raise RedisConnectionError("the connection has been closed")
        return super()._connparams(asynchronous)  # type: ignore[misc]

    def queue_delete(self, *args: Any, **kwargs: Any) -> Any:
        """Delete a queue. Of a channel that is closing, whose broker is away, it is as good as gone.

        kombu closes such channels without their connection, and then fails of its own handling of this fault.
        """
        with suppress(RedisConnectionError) if self._closing else nullcontext():
            return super().queue_delete(*args, **kwargs)  # type: ignore[misc]
        return None

    def _brpop_read(self, **options: Any) -> Any:
        """Take a message off its queue. One that cannot even be parsed is dropped, and ends nobody."""
        self.connection.is_delivering = False
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except _UNPARSABLE as error:
            if self.connection.is_delivering:
                raise
            _drop("", type(error).__name__)
            return True


class _Choosy:
    """Delivers what is a message as we make them, and drops all else."""

    is_delivering = False

    def _deliver(self, message: Any, queue: str) -> None:
        self.is_delivering = True
        if fault := envelopes.fault_of(message, queue):
            _drop(queue, fault)
        else:
            super()._deliver(message, queue)  # type: ignore[misc]


def _drop(queue: str, reason: str) -> None:
    MESSAGES_DROPPED.inc()
    log.error("message dropped", queue=queue, reason=reason)


class Channel(_Mended, redis.Channel):
    """A channel to one server."""


class SentinelChannel(_Mended, redis.SentinelChannel):
    """A channel to whichever server is the primary."""


class Transport(_Choosy, redis.Transport):
    """The Redis transport with our channel."""

    Channel = Channel


class SentinelTransport(_Choosy, redis.SentinelTransport):
    """The same for a broker that sentinels watch."""

    Channel = SentinelChannel


def install() -> None:
    """Have the schemes of our URLs mean these transports."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"
