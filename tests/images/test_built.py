"""The images, really built and run: what is in them, and that a farm of them answers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import locked
import pytest
import workshop
from container import Container
from processes import Site, free_port, until

BASE = "localhost/base"
MISSING = [program for program in workshop.PROGRAMS if shutil.which(program) is None]
READY_S = 90

UNCHECKED_HASH = 1
"""The flags of such byte code (PEP 552)."""

pytestmark = [
    pytest.mark.farm,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="images are built as root"),
    pytest.mark.skipif(bool(MISSING), reason=f"there is no {', '.join(MISSING)}"),
]

WORKERS = {"torch", "triton", "numba", "llvmlite", "rwkv", "sympy"}
"""What a worker alone runs on."""

PROCESSES = {"api": "api", "worker": "worker", "controller": "control", "exporter": "control", "flower": "control"}
"""By name: the image."""

COMMANDS = {
    "controller": ("python", "-m", "autoscale"),
    "exporter": ("python", "-m", "monitoring.exporter"),
    "flower": ("celery", "-A", "echo_tasks", "flower"),
}
"""Those that are no image's own."""

LISTENING = {
    "API": "HOST",
    "WORKER_METRICS": "ADDRESS",
    "CONTROLLER": "ADDRESS",
    "EXPORTER": "ADDRESS",
    "FLOWER": "ADDRESS",
}
"""The first words of the variables of ports, and the last of those of addresses."""

Make = Callable[..., Container]


@dataclass(frozen=True)
class Image:
    """A built image: its name, what it says of itself, and a container's files."""

    name: str
    config: dict[str, Any]
    root: Path

    @property
    def distributions(self) -> set[str]:
        """What is installed in its environment."""
        found = self.root.glob("opt/echo/lib/python3.*/site-packages/*.dist-info")
        return {str(locked.canonicalize_name(path.name.split("-")[0])) for path in found}


@pytest.fixture(scope="module")
def images() -> Iterator[dict[str, Image]]:
    """The three images."""
    with workshop.workshop() as shop:
        shop.make_base(BASE)
        targets = sorted(locked.IMAGES, reverse=True)  # the worker's takes as long as the two others
        with ThreadPoolExecutor(max_workers=2) as builders:
            names = dict(zip(targets, builders.map(lambda target: shop.build(target, BASE), targets), strict=True))
        yield {target: Image(name, shop.config(name), shop.mounted(name)) for target, name in names.items()}


@pytest.fixture
def make(images: dict[str, Image], tmp_path: Path, site: Site) -> Make:
    """Containers of an image by a name of their own, in the network of this machine."""

    def made(target: str, name: str) -> Container:
        env = {"BROKER_URL": site.broker_url, "CACHE_URL": site.store_url, "SCALE_ACTUATOR": "none"}
        for process, where in LISTENING.items():  # each has its own: they all see the ports of this machine
            env |= {f"{process}_{where}": "127.0.0.1", f"{process}_PORT": str(free_port())}
        image = images[target]
        return Container(image.root, image.config, env, tmp_path / f"{name}-volume", tmp_path / f"{name}.log")

    return made


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Ports and servers."""
    return Site(tmp_path)


@pytest.mark.parametrize("target", locked.IMAGES)
def test_an_image_says_how_it_is_run(images: dict[str, Image], target: str) -> None:
    """By a user without rights or name, with a volume, a health check and a signal that ends it; by no shell."""
    config = images[target].config
    assert config["User"] == "10001:10001"
    assert config["Volumes"] == {"/var/lib/echo": {}}
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][:4] == ["CMD", "python", "-S", "/app/health.py"]
    assert not config["Entrypoint"]
    assert "sh" not in Path(config["Cmd"][0]).name
    assert config["Labels"]["org.opencontainers.image.title"] == "Deep Tree Echo"


@pytest.mark.parametrize("target", locked.IMAGES)
def test_an_image_holds_what_is_locked(images: dict[str, Image], target: str) -> None:
    """And nothing besides: no pip, nothing of the tests, nothing of a worker where there is none."""
    assert images[target].distributions <= locked.of_image(target)
    assert locked.names(locked.LOCKS / f"{target}.in") <= images[target].distributions
    assert target == "worker" or not WORKERS & images[target].distributions
    assert not (images[target].root / "app" / "tests").exists()


@pytest.mark.parametrize("target", locked.IMAGES)
def test_an_image_compiles_nothing_when_it_starts(images: dict[str, Image], target: str) -> None:
    """Its byte code is there, and is good whatever the times of the sources: it could not be kept."""
    sources = [path for top in ("opt/echo/lib", "app") for path in images[target].root.glob(f"{top}/**/*.py")]
    compiled = [path for path in map(_compiled, sources) if path]
    assert len(compiled) > 0.99 * len(sources)
    assert not [path for path in compiled if int.from_bytes(path.read_bytes()[4:8], "little") != UNCHECKED_HASH]


def test_a_farm_of_them_answers(make: Make, site: Site) -> None:
    """Each as its own user on a read-only root: a job is answered, all are well, and each ends when it is told to."""
    farm = {name: make(image, name) for name, image in PROCESSES.items()}
    site.env["API_PORT"] = farm["api"].env["API_PORT"]
    with ExitStack() as running:
        for role in ("broker", "store"):
            running.enter_context(site.server(role))
        for name, container in farm.items():
            running.enter_context(container.run(*COMMANDS.get(name, ())))
        until(lambda: site.get("/readyz").status == 200, "the farm is ready", READY_S)

        job = site.post("/api/jobs", {"input_text": "The rain fell on the old town."}, {"Prefer": "wait=30"}).json
        assert job["status"] == "succeeded", job
        assert job["result"]["response_text"]
        for name, container in farm.items():
            until(container.is_healthy, f"{name} is well: {container.text()[-2000:]}")
            assert container.user_id() == 10001
            for place in ("/app/x", "/opt/echo/x", "/tmp/x", "/etc/x"):
                assert "Read-only file system" in container.inspect("/usr/bin/touch", place).stderr
        assert [*farm["worker"].volume.glob(".cache/deep-tree-echo/kernels-*/*/*.nbi")], (
            "kernels are kept on the volume"
        )
        for name, container in farm.items():
            assert container.stop() == 0, f"{name}: {container.text()[-2000:]}"


def test_its_health_check_fails_when_nobody_listens(make: Make) -> None:
    """A process that serves nothing is not well."""
    idle = make("control", "idle")
    with idle.run("python", "-c", "import time; print('idle'); time.sleep(60)"):
        until(lambda: "idle" in idle.text(), "it runs")
        assert not idle.is_healthy()


def test_the_control_image_asks_what_to_run(make: Make) -> None:
    """It has three commands, and none by itself."""
    undecided = make("control", "undecided")
    with undecided.run():
        assert undecided.ended() == 1
    assert "python -m autoscale" in undecided.text()


def _compiled(source: Path) -> Path | None:
    return next(source.parent.glob(f"__pycache__/{source.stem}.cpython-*.pyc"), None)
