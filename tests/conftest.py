"""Servers, workers and an API for the whole run: real ones, on free ports and in temporary folders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from processes import Site

from echo_tasks import connections
from echo_tasks.ledger import Ledger


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The shared site. Tests keep apart by their jobs' ids and their keys."""
    return Site(tmp_path_factory.mktemp("site"), {"ECHO_SLOTS": "4", "ECHO_MAX_PROMPT_TOKENS": "4096"})


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
    return Ledger(broker, retention_s=600, session_s=600)
