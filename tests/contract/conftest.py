"""The contract's tests have databases of their own: no worker of the shared farm sees to what they leave undone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis
from yard import Yard

from echo_tasks import connections


@pytest.fixture
def broker(broker_url: str) -> Iterator[redis.Redis]:
    """A client of the broker, at a database where nobody reaps."""
    client = connections.impatient(broker_url.removesuffix("/0") + "/6")
    yield client
    client.close()


@pytest.fixture
def yard(broker_url: str) -> Iterator[Yard]:
    """A database of the test's own, in which nothing else happens."""
    yard = Yard(broker_url.removesuffix("/0") + "/4")
    yield yard
    yard.broker.close()
