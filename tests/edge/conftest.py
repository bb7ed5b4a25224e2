"""An edge before the shared farm, and what must be there for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asking import ACCESS_LOG, ADMIN_KEY, Open
from processes import Site

from bench import edge
from bench.edge import Edge


@pytest.fixture(autouse=True, scope="session")
def programs() -> None:
    """Skip, with the reason, where there is no nginx."""
    if reason := edge.missing():
        pytest.skip(reason)


@pytest.fixture(scope="session")
def front(farm: Site, programs: None) -> Iterator[Edge]:
    """An edge before the shared farm."""
    with edge.before([int(farm.env["API_PORT"])], {"EDGE_CLIENT_TIMEOUT_S": "2"}) as front:
        yield front


@pytest.fixture(scope="session")
def without_keys(
    broker_url: str, store_url: str, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Open]:
    """The one such API of these tests. It has another database than the shared farm, so that its jobs stay queued."""
    env = {"API_KEYS": "off", "API_ADMIN_KEY": ADMIN_KEY, "MAX_CONCURRENT_SESSIONS": "10000"} | ACCESS_LOG
    urls = {"BROKER_URL": f"{broker_url.rpartition('/')[0]}/1", "CACHE_URL": store_url}
    site = Site(tmp_path_factory.mktemp("open"), env | urls)
    port = int(site.env["API_PORT"])
    with site.http() as api, edge.before([port], {}) as front:
        yield Open(api, port, front)
