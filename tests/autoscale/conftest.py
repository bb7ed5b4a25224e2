"""The controller's tests have a database of their own, in which nothing else happens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scene import Scene


@pytest.fixture
def scene(broker_url: str) -> Iterator[Scene]:
    """An empty database."""
    scene = Scene(broker_url.removesuffix("/0") + "/7")
    yield scene
    scene.broker.close()
