"""An edge before the shared farm, and what must be there for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asking import ACCESS_LOG, ADMIN_KEY
from processes import Running, Site, free_port

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
    farm: Site, programs: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Edge, Running]]:
    """An edge before an API that trusts no proxy and needs no key, though it has an administrator's; and that API."""
    env = {"API_PORT": str(free_port()), "ECHO_VAR": str(tmp_path_factory.mktemp("open")), "API_KEYS": "off"}
    site = Site(tmp_path_factory.mktemp("api"), farm.env | ACCESS_LOG | env | {"API_ADMIN_KEY": ADMIN_KEY})
    with site.http() as api, edge.before([int(env["API_PORT"])], {}) as front:
        yield front, api
