"""An edge before the shared farm, and what must be there for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
