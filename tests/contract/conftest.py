"""The contract's tests have a database of their own: no worker of the shared farm sees to what they leave undone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from yard import Yard


@pytest.fixture(scope="session")
def broker_url(broker_url: str) -> str:
    """The broker, at a database where nobody reaps."""
    return broker_url.removesuffix("/0") + "/2"


@pytest.fixture
def yard(broker_url: str) -> Iterator[Yard]:
    """A database of the test's own, in which nothing else happens."""
    yard = Yard(broker_url.removesuffix("/2") + "/4")
    yield yard
    yard.broker.close()
