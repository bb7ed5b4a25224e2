"""What processes tell one another of the values that they hold copies of: which are no longer good.

One channel, and one subscription a process, in a thread of its own. While it is down nothing is heard; what listens is
told when it begins again, and has to take all it knows for old.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.retry import Retry

from cache.tier import TierFault

CHANNEL = "echo:cache:changes"

_POLL_S = 1.0
_SILENT_POLLS = 3
_RECONNECT_S = 0.1

log = logging.getLogger(__name__)


class Change(NamedTuple):
    """Tags with their new versions, and levels that are to be cleared."""

    tags: Mapping[str, str] = {}
    levels: Sequence[str] = ()


Listener = Callable[[Change], None]


class Changes:
    """The changes of all processes on one server, but for this one's own. Threads may share it."""

    def __init__(self, client: redis.Redis, *, channel: str = CHANNEL) -> None:
        self._redis = client
        self._listening = _without_retries(client)
        self._channel = channel
        self._own = secrets.token_hex(8)
        self._listeners: list[tuple[Listener, Callable[[], None]]] = []
        self._thread = threading.Thread(target=self._run, name="cache-changes", daemon=True)
        self._stopping = threading.Event()
        self._is_connected = False

    def listen(self, changed: Listener, interrupted: Callable[[], None] = lambda: None) -> None:
        """Have `changed` called with every change, and `interrupted` whenever some may have been missed."""
        self._listeners.append((changed, interrupted))

    def are_heard(self) -> bool:
        """Whether every change by others is heard now."""
        return self._is_connected

    def tell(self, change: Change, pipe: redis.client.Pipeline | None = None) -> None:
        """Tell all other processes, together with what else is in a pipeline; raises TierFault."""
        message = json.dumps([self._own, *change])
        try:
            (self._redis if pipe is None else pipe).publish(self._channel, message)
        except RedisError as error:
            raise TierFault(str(error)) from error

    def start(self) -> None:
        """Begin the subscription."""
        self._thread.start()

    def stop(self) -> None:
        """End it. Blocks."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        self._listening.connection_pool.disconnect()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._listening.pubsub() as subscription:
                    subscription.subscribe(self._channel)
                    self._follow(subscription)
            except RedisError as error:
                if self._is_connected:  # once an outage
                    log.warning("changes of the cache are not heard: %s", error)
            except Exception:  # the outermost loop of the thread
                log.exception("changes of the cache are not heard")
            self._is_connected = False
            time.sleep(_RECONNECT_S)

    def _follow(self, subscription: redis.client.PubSub) -> None:
        silent = 0
        while not self._stopping.is_set():
            message = subscription.get_message(timeout=_POLL_S)
            silent = silent + 1 if message is None else 0
            if silent > _SILENT_POLLS:
                raise RedisConnectionError("the server does not answer pings")
            if message is None:
                subscription.ping()
            elif message["type"] == "subscribe":
                self._begin()
            elif message["type"] == "message":
                self._hear(message["data"])

    def _begin(self) -> None:
        for _, interrupted in self._listeners:
            interrupted()
        self._is_connected = True

    def _hear(self, message: str | bytes) -> None:
        sender, tags, levels = json.loads(message)
        if sender != self._own:
            for changed, _ in self._listeners:
                changed(Change(tags, levels))


def _without_retries(client: redis.Redis) -> redis.Redis:
    """A client for the same server that tells of a lost connection at once, where the other may try for long."""
    pool = client.connection_pool
    settings = pool.connection_kwargs | {"retry": Retry(NoBackoff(), 0)}
    return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **settings))
