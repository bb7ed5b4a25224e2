"""An API of its own, whose clients have little time, over the shared broker and without a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from callers import ADMIN_KEY, ORIGIN
from processes import Site, free_port


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Broker and store of the API's tests alone: no worker of a shared farm is there."""
    own = Site(tmp_path_factory.mktemp("servers"))
    with own.server("broker"), own.server("store"):
        yield own


@pytest.fixture(scope="session")
def broker_url(servers: Site) -> str:
    """The broker of these tests."""
    return servers.broker_url


@pytest.fixture(scope="session")
def store_url(servers: Site) -> str:
    """The store of these tests."""
    return servers.store_url


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory, broker_url: str, store_url: str) -> Iterator[Site]:
    """The API under its production server; pages on PAGES_PORT of localhost may use it."""
    pages_port = str(free_port())
    env = {"BROKER_URL": broker_url, "CACHE_URL": store_url, "PAGES_PORT": pages_port}
    env |= {"CORS_ORIGINS": f"{ORIGIN}, http://localhost:{pages_port}"}
    env |= {"CLIENT_IDLE_S": "4", "CLIENT_HEAD_S": "2", "CLIENT_BODY_S": "2", "CLIENT_READ_S": "2"}
    env |= {"MAX_CONCURRENT_SESSIONS": "10000", "SERVICE_TIMEOUT": "1", "API_ADMIN_KEY": ADMIN_KEY}
    env |= {"TRUSTED_PROXIES": "127.0.0.0/8"}
    own = Site(tmp_path_factory.mktemp("guarded"), env)
    with own.http():
        yield own


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory, broker_url: str, store_url: str) -> Iterator[Site]:
    """One that lets nobody in without a key."""
    env = {"BROKER_URL": broker_url, "CACHE_URL": store_url, "SERVICE_TIMEOUT": "1"}
    env |= {"API_KEYS": "required", "API_ADMIN_KEY": ADMIN_KEY, "MAX_CONCURRENT_SESSIONS": "10000"}
    own = Site(tmp_path_factory.mktemp("keyed"), env)
    with own.http():
        yield own
