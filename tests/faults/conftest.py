"""The long size of the fault suite runs only where it is asked for: `-m faults`."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what is marked `faults` unless the marker is named on the command line."""
    if "faults" in config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("faults"):
            item.add_marker(pytest.mark.skip(reason="the long size; run it with -m faults"))
