"""Connections to the broker and the store, and what their faults mean to the farm."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import BusyLoadingError, MasterDownError, OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import Sentinel

from echo_tasks import addresses
from echo_tasks.errors import BrokerUnavailable

_MOST_CONNECTIONS = 1024
"""Of one process: a burst of greenlets opens as many as it needs, well below the server's own limit of 10,000."""


_AT_A_TIME, _LINE_S = 64, 10
"""Of an API process, requests that speak with the broker at once, and seconds that one more stands in line.

With hundreds at once each round trip takes as long as all of their greenlets' turns, and patience with the broker would
end for want of our own processor.
"""

_ASKING_A_SENTINEL: dict[str, Any] = {
    "socket_connect_timeout": 0.25,
    "socket_timeout": 0.25,
    "retry": Retry(NoBackoff(), 0),
}
"""There are others to ask, and whoever waits for the answer has two seconds for all."""


def _client(url: str, *, in_line: bool = False, **options: Any) -> redis.Redis:
    """A client of the server at the URL, or of whichever the sentinels there say is the primary by now.

    `in_line`: `_AT_A_TIME` callers use it at once, where it is no sentinels' primary.
    """
    if not addresses.is_sentinels(url):
        pool = redis.BlockingConnectionPool if in_line else redis.ConnectionPool
        bounds = (
            {"max_connections": _AT_A_TIME, "timeout": _LINE_S} if in_line else {"max_connections": _MOST_CONNECTIONS}
        )
        return redis.Redis.from_pool(pool.from_url(url, **bounds, **options))
    told = addresses.sentinels(url)
    login = {name: value for name in ("username", "password") if (value := getattr(told, name)) is not None}
    watch = Sentinel(list(told.hosts), sentinel_kwargs=_ASKING_A_SENTINEL)
    return watch.master_for(told.primary, db=told.db, max_connections=_MOST_CONNECTIONS, **login, **options)


def impatient(url: str) -> redis.Redis:
    """A client for request handlers: it gives up within two seconds, and reconnects on its next use.

    A connection that the server closed while idle is replaced once, at once; a timeout is not retried. More than
    `_AT_A_TIME` callers stand in line.
    """
    return _client(
        url,
        in_line=True,
        decode_responses=True,
        socket_connect_timeout=0.7,
        socket_timeout=1.1,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    )


def hasty(url: str) -> redis.Redis:
    """A client, of bytes, for a cache: what it does not get at once is computed instead."""
    return _client(
        url,
        socket_connect_timeout=0.2,
        socket_timeout=0.2,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    )


def patient(url: str) -> redis.Redis:
    """A client for workers: it rides out about half a minute of refused connections, or of a server without room."""
    return _client(
        url,
        decode_responses=True,
        socket_connect_timeout=3,
        socket_timeout=4,  # of a connection that has gone silent; the next one is tried then
        socket_keepalive=True,
        health_check_interval=15,
        retry=_WhileItMayPass(ExponentialWithJitterBackoff(base=0.1, cap=5), 12, supported_errors=(RedisError,)),
    )


class _WhileItMayPass(Retry):  # type: ignore[misc]
    """Tries again after faults that may pass, and after no others: redis-py tells them apart by class alone."""

    def call_with_retry(self, do: Any, fail: Any, is_retryable: Any = None, **options: Any) -> Any:
        return super().call_with_retry(do, fail, is_retryable or _may_pass, **options)


_REASONS = {
    "OOM": "memory",
    "MISCONF": "disk",
    "READONLY": "read-only",
    "NOREPLICAS": "read-only",
    "MASTERDOWN": "loading",
    "LOADING": "loading",
    "BUSY": "busy",
    "CLUSTERDOWN": "unreachable",
}
"""Faults that the server names and that may pass, and what we call them."""

_KINDS: dict[type[Exception], str] = {
    OutOfMemoryError: "memory",
    ReadOnlyError: "read-only",
    BusyLoadingError: "loading",
    MasterDownError: "loading",
}
"""Those of them that redis-py knows: it takes their names off."""

_PASSING = re.compile(rf"\b({'|'.join(_REASONS)})\b")
"""In a pipeline the name does not come first."""


@contextmanager
def broker_faults() -> Iterator[None]:
    """Raise BrokerUnavailable for faults of the broker that may pass; let our own mistakes through."""
    try:
        yield
    except RedisError as error:
        if _may_pass(error):
            raise BrokerUnavailable(str(error), reason=reason_of(error)) from error
        raise


def _may_pass(error: Exception) -> bool:
    passing = (RedisConnectionError, RedisTimeoutError, *_KINDS)
    return isinstance(error, passing) or bool(_PASSING.search(str(error)))


def reason_of(error: Exception) -> str:
    """What kind of fault of the broker's an error is, in a word: `unreachable` unless the server named another."""
    for fault in filter(None, (error, error.__cause__)):  # kombu's errors have redis-py's as their cause
        if found := next((word for kind, word in _KINDS.items() if isinstance(fault, kind)), None):
            return found
        if named := _PASSING.search(str(fault)):
            return _REASONS[named[1]]
    return "unreachable"
