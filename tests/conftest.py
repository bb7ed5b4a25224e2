"""Servers, workers and an API for the whole run: real ones, on free ports and in temporary folders."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import settings
from measured import Since
from processes import Site

from echo_tasks import connections
from echo_tasks.ledger import Ledger
from echo_tasks.sessions import SessionBounds

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Load what the run itself is made of."""
    for name in ("dividing", "failures"):
        pluginmanager.import_plugin(name)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Torch has one thread, if it was imported: a model that is loaded by settings sets as many as there are cores."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random checkpoint, which goes on for as long as it may: for tests of whatever runs long."""
    # Only here: OpenMP reads its number of threads when torch is imported.
    import torch  # noqa: PLC0415

    from bench import untrained  # noqa: PLC0415

    path = tmp_path_factory.mktemp("models") / "talkative.pth"
    torch.save(untrained.weights(), path)
    return path


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Site:
    """The shared site. Tests keep apart by their jobs' ids and their keys."""
    env = {"ECHO_SLOTS": "4", "ECHO_MAX_PROMPT_TOKENS": "4096", "ECHO_MODEL": str(talkative)}
    env["MAX_CONCURRENT_SESSIONS"] = "10000"  # tests leave theirs behind
    return Site(tmp_path_factory.mktemp("site"), env)


@pytest.fixture(scope="session")
def broker_url(site: Site) -> Iterator[str]:
    """A broker with the farm's own settings."""
    with site.server("broker"):
        yield site.broker_url


@pytest.fixture(scope="session")
def store_url(site: Site) -> Iterator[str]:
    """A store with the farm's own settings."""
    with site.server("store"):
        yield site.store_url


@pytest.fixture(scope="session")
def farm(site: Site, broker_url: str, store_url: str) -> Iterator[Site]:
    """A whole farm: broker, store, one worker, and the API."""
    with site.worker(), site.http():
        yield site


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    """A client of the broker."""
    client = connections.impatient(broker_url)
    yield client
    client.close()


@pytest.fixture
def ledger(broker: redis.Redis) -> Ledger:
    """A ledger on the broker."""
    return Ledger(broker, retention_s=600, session_s=600, bounds=SessionBounds(live=10_000))


@pytest.fixture
def since() -> Since:
    """What is counted from the test's beginning on."""
    return Since()
