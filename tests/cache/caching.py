"""What tests of caches import: a clock to set, clients, and processes beside this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def own_database(store_url: str) -> str:
    """The database that tests of caches clear as they like."""
    return store_url.removesuffix("/0") + "/9"


def brief(url: str) -> redis.Redis:
    """A client of bytes that gives up within a second."""
    return redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))


Another = Callable[[], ProcessPoolExecutor]
