"""How a run is divided: what is left out, how many processes there are, and which tests begin."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import pytest

PROCESSES = 2 * (os.cpu_count() or 1)
"""Of a run of more than one file: tests that start processes wait for half of their time."""

BEGIN = ("farm", "faults", "deployment", "monitoring", "bench", "training", "workers")
"""Folders with the longest files, which begin, so that no process is left with one of them at the end."""

_BEGAN = "ECHO_TESTS_BEGAN"
"""Variable by which the processes of a run know when it began."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the suite."""
    group = parser.getgroup("suite")
    group.addoption("--all", action="store_true", help="run the tests that are marked `long`, too")
    group.addoption("--minutes", type=float, metavar="N", help="begin no long test later than after N minutes")


def pytest_configure(config: pytest.Config) -> None:
    """One OpenMP thread a process unless said otherwise: the threads of several processes wait for one another."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported, by whichever test does
    os.environ.setdefault(_BEGAN, str(time.time()))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: no other processes where a single file is asked for."""
    asked = [Path(word.partition("::")[0]) for word in config.args]
    return 0 if len(asked) == 1 and asked[0].is_file() else PROCESSES


def pytest_collection(session: pytest.Session) -> None:
    """Collect no garbage while the tests are imported: a fifth of the time would go into that."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was imported stays: no collection has to visit it."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is long unless all is asked for, and let the longest files begin."""
    if not config.option.all:
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    items.sort(key=_place)


def _place(item: pytest.Item) -> tuple[bool, int]:
    """Files of long tests alone come last: they are what a limit of time leaves out."""
    folder = item.path.parent.name
    return item.get_closest_marker("long") is not None, BEGIN.index(folder) if folder in BEGIN else len(BEGIN)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a long test that would begin too late."""
    minutes = item.config.option.minutes
    is_late = minutes is not None and time.time() > float(os.environ[_BEGAN]) + 60 * minutes
    if is_late and item.get_closest_marker("long"):
        pytest.skip(f"long, and {minutes:g} minutes are over")
