"""A farm whose processes are replaced one by one by those of another release, as docs/updates.md says."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from fleet import Kept
from processes import PYTHON, Running, Site, asked, until
from releases import Release

from echo_tasks import connections
from echo_tasks.registry import Registry

API = ("-m", "gunicorn", "-c", "python:echo_api.server", "echo_api:create_app()")

SERVERS = (("store",), ("broker",))
READERS = (("worker1",), ("worker2",), ("controller", "exporter", "flower"))
"""What is replaced at a time."""

Make = Callable[[Site], AbstractContextManager[Running]]


class Rolling:
    """A whole farm. Its API's door, a listening socket, is held here, as systemd or a keeper would hold it."""

    def __init__(self, folder: Path, release: Release, settings: Mapping[str, str]) -> None:
        self.site = Site(folder, dict(settings), root=release.tree)
        self._door = socket.create_server(("127.0.0.1", int(self.site.env["API_PORT"])), backlog=2048)
        self._numbers = itertools.count()
        self.strikes: list[float] = []
        makes: dict[str, Make] = {
            "store": lambda site: site.server("store"),
            "broker": lambda site: site.server("broker"),
            "worker1": lambda site: site.worker(name="w1"),
            "worker2": lambda site: site.worker(name="w2"),
            "controller": lambda site: self._serving(site, "controller", "/metrics", "-m", "autoscale"),
            "exporter": lambda site: self._serving(site, "exporter", "/metrics", "-m", "monitoring.exporter"),
            "flower": lambda site: self._serving(
                site, "flower", "/healthcheck", "-m", "celery", "-A", "echo_tasks", "flower"
            ),
            "api": self._api,
        }
        self._kept = {name: self._keep(make) for name, make in makes.items()}
        self._makes = makes

    def _keep(self, make: Make) -> Kept:
        return Kept(lambda: make(self.site))

    def start(self) -> None:
        """Start everything: one worker by itself, which compiles for the other one, and then the rest together."""
        for group in (*SERVERS, ("worker1",), (*self._kept.keys() - {"store", "broker", "worker1"},)):
            self._together(group, lambda name: self._kept[name].start())

    def end(self) -> None:
        """End everything, the servers last."""
        for group in ((*self._kept.keys() - {"store", "broker"},), *SERVERS):
            self._together(group, lambda name: self._kept[name].end())
        self._door.close()

    def update(self, release: Release) -> None:
        """Servers first, then whoever reads jobs, and the API, which writes them, at last."""
        self._roll(release, *SERVERS, *READERS, ("api",))

    def roll_back(self, release: Release) -> None:
        """The API first, so that nobody writes any more what its workers could not read."""
        self._roll(release, ("api",), *READERS, *SERVERS)

    def versions(self) -> dict[str, str]:
        """The releases that the API and each worker say they are."""
        told: dict[str, Any] = self.site.get("/health").json
        return {"api": told["version"]} | {worker["node"]: worker["version"] for worker in told["workers"]}

    def _roll(self, release: Release, *groups: Sequence[str]) -> None:
        self.site = Site(self.site.folder, self.site.env, root=release.tree)
        for group in groups:
            self.strikes.append(time.monotonic())
            self._together(group, self._replace)

    def _together(self, names: Sequence[str], act: Callable[[str], None]) -> None:
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(act, names))

    def _replace(self, name: str) -> None:
        if name == "api":
            self._replace_api()
        elif name.startswith("worker"):
            self._replace_worker(name)
        else:
            self._kept[name].end()
            self._kept[name].start()

    def _replace_api(self) -> None:
        """The successor opens its door before the predecessor, which finishes what it has begun, closes its own."""
        successor = self._keep(self._makes["api"])
        successor.start()
        self._kept["api"].end()
        self._kept["api"] = successor

    def _replace_worker(self, name: str) -> None:
        """Drained, it ends by itself when it has finished what it holds."""
        with connections.impatient(self.site.broker_url) as client:
            Registry(client).drain(f"{name.replace('worker', 'w')}@test")
        worker = self._kept[name]
        assert until(lambda: worker.running.process.poll() is not None, f"{name} is drained")
        assert worker.running.process.poll() == 0, worker.running.text()
        worker.end()
        worker.start()

    @contextmanager
    def _api(self, site: Site) -> Iterator[Running]:
        """An API that has begun to take requests."""
        door = self._door.fileno()
        name = f"api{next(self._numbers)}"
        with site.run(name, PYTHON, *API, "--bind", f"fd://{door}", pass_fds=(door,)) as running:
            until(lambda: "Booting worker" in running.text() or running.process.poll() is not None, "the API is up")
            until(lambda: site.get("/livez").status == 200, "it answers")
            assert running.process.poll() is None, running.text()
            yield running

    @contextmanager
    def _serving(self, site: Site, name: str, path: str, *command: str) -> Iterator[Running]:
        """A process with a port of its own, answering."""
        url = f"http://127.0.0.1:{site.env[f'{name.upper()}_PORT']}{path}"
        with site.run(name, PYTHON, *command) as running:
            until(lambda: asked(url)[0] == 200 or running.process.poll() is not None, f"{name} answers")
            assert running.process.poll() is None, running.text()
            yield running
