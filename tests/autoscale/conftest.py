"""What the tests of the controller and of actuators share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from registry_fake import Draining
from scene import Scene


@pytest.fixture
def scene(broker_url: str) -> Iterator[Scene]:
    """An empty database of the controller's own, in which nothing else happens."""
    scene = Scene(broker_url.removesuffix("/0") + "/7")
    yield scene
    scene.broker.close()


@pytest.fixture
def registry() -> Draining:
    """A registry that notes who is drained."""
    return Draining()
