"""Asks all who know something of the farm, at once, and goes on without those who do not answer."""

from __future__ import annotations

import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from redis import RedisError

from echo_tasks import connections
from echo_tasks.errors import BrokerUnavailable
from echo_tasks.local import places
from echo_tasks.messages import WorkerRecord
from echo_tasks.registry import Registry
from echo_tasks.scaling import Scaling
from echo_tasks.settings import Settings, redacted
from monitoring.terminal.exposition import Samples
from monitoring.terminal.reading import Farm, Reading

PATIENCE_S = 2.0
EVENTS_READ = 20
_AT_ONCE = 16

_FAULTS = (OSError, http.client.HTTPException, ValueError, BrokerUnavailable, RedisError)
_LOOPBACK = ("127.", "localhost:", "[::1]:")

Found = TypeVar("Found")


class Observer:
    """Reads one farm again and again. Not for two threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._broker = connections.impatient(settings.broker)
        self._registry = Registry(self._broker)
        self._scaling = Scaling(self._broker)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="observer")

    def close(self) -> None:
        """Let go of the broker; whoever is being asked is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._broker.close()

    def read(self) -> Reading:
        """Ask everyone. Blocks for as long as the slowest takes, which is seconds where one hangs."""
        exporter_url, api_url = places.exporter(self._settings), places.api(self._settings)
        exporter = self._ask(partial(_samples, f"{exporter_url}/metrics"))
        api = self._ask(partial(_samples, f"{api_url}/metrics"))
        pages = {name: self._ask(partial(_text, url)) for name, url in self._pages().items()}
        faults: dict[str, str] = {}
        farm = _answer(self._ask(self._farm), faults, f"broker at {redacted(self._settings.broker).partition('?')[0]}")
        workers = [self._ask(partial(_samples, url)) for url in _endpoints(farm.workers if farm else ())]
        return Reading(
            time.monotonic(),
            farm,
            _answer(exporter, faults, f"exporter at {exporter_url}"),
            _answer(api, faults, f"API at {api_url}"),
            Samples.of_all(said for asked in workers if (said := _answer(asked)) is not None),
            faults,
            {name: _answer(asked) is not None for name, asked in pages.items()},
        )

    def _pages(self) -> dict[str, str]:
        """What tells whether a web view is there, by its name."""
        return {
            "Flower": f"{places.flower(self._settings)}/healthcheck",
            "controller": f"{places.controller(self._settings)}/metrics",
            "Prometheus": f"{places.prometheus(self._settings)}/-/ready",
        }

    def _farm(self) -> Farm:
        now, workers = self._registry.snapshot()
        events = tuple(recorded.event for recorded in self._scaling.events(EVENTS_READ))
        return Farm(now, tuple(workers), self._scaling.state(), events)

    def _ask(self, act: Callable[[], Found]) -> Future[Found]:
        return self._threads.submit(act)


def _answer(asked: Future[Found], faults: dict[str, str] | None = None, who: str = "") -> Found | None:
    """What came back; None, and a line in `faults`, where nothing did."""
    try:
        return asked.result()
    except _FAULTS as error:
        if faults is not None:
            faults[who] = _in_words(error)
        return None


def _in_words(error: BaseException) -> str:
    """Why somebody was not reached, in a clause."""
    if isinstance(error, BrokerUnavailable):
        return error.reason
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP status {error.code}"
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next(iter(str(error).splitlines()), type(error).__name__)


def _samples(url: str) -> Samples:
    return Samples.parsed(_text(url))


def _text(url: str) -> str:
    """What a server of the farm answers with. Raises OSError, HTTPException, and ValueError for what is no text."""
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310 - the farm's own servers
        body: bytes = answer.read()
    return body.decode()


def _endpoints(workers: Iterable[WorkerRecord]) -> list[str]:
    """URLs of the metrics of the workers that can be reached: what is on the loopback of another machine cannot."""
    here = socket.gethostname()
    return [
        f"http://{worker.metrics_address}/metrics"
        for worker in workers
        if worker.metrics_address and (worker.host == here or not worker.metrics_address.startswith(_LOOPBACK))
    ]
