"""A farm of several workers behind a proxy, whose processes and connections can be harmed one by one."""

from __future__ import annotations

import itertools
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redis
from processes import Running, Site, until
from proxy import Link, Proxy, proxy

from echo_tasks import keys


@dataclass
class Kept:
    """A process that is ended and started again."""

    make: Callable[[], AbstractContextManager[Running]]
    running: Running = field(init=False)
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Start it; returns when it is ready."""
        self.running = self._stack.enter_context(self.make())

    def end(self, with_signal: int = signal.SIGTERM) -> None:
        """End it, and wait for its end."""
        if hasattr(self, "running"):
            self.running.stop(with_signal)
        self._stack.close()


class Fleet:
    """A running farm; `behind` is its site as the servers see it, `site` has the proxy for a broker."""

    def __init__(self, behind: Site, between: Proxy, workers: int) -> None:
        self.behind = behind
        self.proxy = between
        self.site = Site(behind.folder, behind.env | {"BROKER_URL": f"redis://127.0.0.1:{between.port}/0"})
        self.visibility_s, self.lease_s = (float(behind.env[f"ECHO_{name}_S"]) for name in ("VISIBILITY", "LEASE"))
        self.broker = Kept(lambda: behind.server("broker"))
        self.store = Kept(lambda: behind.server("store"))
        self.api = Kept(self.site.http)
        names = itertools.count()
        self.workers = [Kept(lambda: self.site.worker(name=f"w{next(names)}")) for _ in range(workers)]
        self.strikes: list[float] = []
        self._random = random.Random(7)
        self._replacing: dict[int, Future[None]] = {}
        self._pool = ThreadPoolExecutor(workers)

    def start(self) -> None:
        """Start everything, the workers side by side."""
        for server in (self.broker, self.store, self.api):
            server.start()
        list(self._pool.map(Kept.start, self.workers))

    def end(self) -> None:
        """End everything."""
        self.settle()
        self._pool.shutdown()
        for process in (*self.workers, self.api, self.store, self.broker):
            process.end()

    def strike(self) -> None:
        """Wait until workers hold leases on steps, and note that a fault begins now, which meets them."""
        with self.client() as client:
            until(lambda: client.zcard(keys.LEASES), "steps run")
        self.strikes.append(time.monotonic())

    def kill(self, worker: int | None = None) -> None:
        """SIGKILL a worker, any by default that lives, and start another in its place; returns at once."""
        living = [n for n in range(len(self.workers)) if n not in self._replacing or self._replacing[n].done()]
        if worker is None and not living:
            return
        chosen = worker if worker is not None else self._random.choice(living)
        self.strike()
        self.workers[chosen].end(signal.SIGKILL)
        self._replacing[chosen] = self._pool.submit(self.workers[chosen].start)

    def settle(self) -> None:
        """Wait until every worker that was killed has its successor."""
        for replaced in self._replacing.values():
            replaced.result()
        self._replacing.clear()

    def owner(self, link: Link) -> int | None:
        """Which worker a connection through the proxy belongs to, if one."""
        port = link.client.getpeername()[1]
        for number, worker in enumerate(self.workers):
            connections = psutil.Process(worker.running.process.pid).net_connections("tcp")
            if any(connection.laddr.port == port for connection in connections):
                return number
        return None

    def client(self) -> redis.Redis:
        """A client of the broker that does not go through the proxy."""
        return redis.Redis.from_url(self.behind.broker_url, decode_responses=True)


@contextmanager
def fleet(folder: Path, workers: int, settings: Mapping[str, str]) -> Iterator[Fleet]:
    """A farm with so many workers and these settings, until the block ends."""
    env = {
        "ECHO_SLOTS": "4",
        "ECHO_THREADS": "1",  # several workers share the machine
        "ECHO_VISIBILITY_S": "15",
        "ECHO_LEASE_S": "6",
        "MAX_CONCURRENT_SESSIONS": "100000",
        **settings,
    }
    behind = Site(folder, env)
    with proxy(int(behind.env["BROKER_PORT"])) as between:
        made = Fleet(behind, between, workers)
        try:
            made.start()
            yield made
        finally:
            made.end()
