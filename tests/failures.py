"""What a failed test of processes says: where their logs are, and how these end."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import pytest
from processes import Site

LAST_LINES = 20

_BEGAN = pytest.StashKey[float]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note when the test begins."""
    item.stash[_BEGAN] = time.time()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Name every log that has grown during a failed test, and show its end."""
    report = yield
    if report.failed:
        for log in _logs_since(item.stash[_BEGAN]):
            lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
            report.sections.append((f"end of {log}", "\n".join(lines)))
    return report


def _logs_since(moment: float) -> list[Path]:
    folders = {site.folder for site in Site.made}
    logs = {log for folder in folders for pattern in ("*.log", "var/log/*") for log in folder.glob(pattern)}
    return sorted(log for log in logs if log.is_file() and log.stat().st_mtime >= moment)
