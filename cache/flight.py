"""Single flight: of all who miss a value at the same time, one computes it and the others wait for that.

Within a process they share one future. Across processes whoever holds the key's lease computes; the lease is renewed
while that process lives and computes, and soon another one takes its place when it does not.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

import redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from cache.tier import MISS, Miss, key_bytes

LEASE_S = 2.0
"""How long after its last sign of life a computer's place is free."""

_PREFIX = b"echo:flight:"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.1

log = logging.getLogger(__name__)

T = TypeVar("T")


class Flights:
    """Flights by key. Threads may share it; without a client it knows this process alone."""

    def __init__(self, client: redis.Redis | None = None, *, lease_s: float = LEASE_S) -> None:
        self._redis = client
        self._lease_s = lease_s
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[object]] = {}

    def is_under_way(self, key: str) -> bool:
        """Whether a thread of this process computes the key, or waits for another process."""
        return key in self._under_way

    def join(self, key: str, compute: Callable[[], T], look: Callable[[], T | Miss]) -> T:
        """What one caller's `compute` answers, or `look` finds once another process has kept it. Blocks.

        An error of `compute` is raised to all who waited in this process, and forgotten; those of other processes
        compute for themselves, one at a time.
        """
        with self._lock:
            flight = self._under_way.get(key)
            leads = flight is None
            if flight is None:
                flight = self._under_way[key] = Future()
        if not leads:
            return flight.result()  # type: ignore[return-value]
        try:
            answer = self._alone(key, compute, look)
        except BaseException as error:
            self._land(key).set_exception(error)
            raise
        self._land(key).set_result(answer)
        return answer

    def _land(self, key: str) -> Future[object]:
        with self._lock:
            return self._under_way.pop(key)

    def _alone(self, key: str, compute: Callable[[], T], look: Callable[[], T | Miss]) -> T:
        """Compute as the only process that does, unless another one has done so meanwhile."""
        pause_s = _FIRST_PAUSE_S
        while True:
            lease = self._lease(key)
            if (found := look()) is not MISS:
                _give_back(lease)
                return found
            if lease is not None or self._redis is None:
                with self._renewed(lease):
                    return compute()
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _lease(self, key: str) -> Lock | None:
        """The key's lease if it is free. A server that is away leaves each process to itself."""
        if self._redis is None:
            return None
        lease = Lock(self._redis, _PREFIX + key_bytes(key), timeout=self._lease_s, thread_local=False)
        try:
            return lease if lease.acquire(blocking=False) else None
        except RedisError as error:
            log.warning("no lease: %s", error)
            return lease

    @contextmanager
    def _renewed(self, lease: Lock | None) -> Iterator[None]:
        """Keep a lease until the block ends, and give it back then."""
        done = threading.Event()
        if lease is not None and lease.local.token is not None:
            threading.Thread(target=self._renew, args=(lease, done), name="cache-lease", daemon=True).start()
        try:
            yield
        finally:
            done.set()
            _give_back(lease)

    def _renew(self, lease: Lock, done: threading.Event) -> None:
        while not done.wait(self._lease_s / 3):
            try:
                lease.reacquire()
            except RedisError:  # lost, or the server is away: then two may compute, which harms nobody
                return


def _give_back(lease: Lock | None) -> None:
    if lease is None or lease.local.token is None:
        return
    try:
        lease.release()
    except (LockError, RedisError):
        log.debug("a lease had expired")
