"""What all tests of actuators share."""

from __future__ import annotations

import pytest
from registry_fake import Draining


@pytest.fixture
def registry() -> Draining:
    """A registry that notes who is drained."""
    return Draining()
