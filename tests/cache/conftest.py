"""What tests of caches are given: a clock to set, keys of their own, clients, and processes beside this one."""

from __future__ import annotations

import multiprocessing
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from caching import Another, Clock, own_database
from processes import Site


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def prefix() -> str:
    """What the keys and tags of this test alone begin with."""
    return uuid.uuid4().hex


@pytest.fixture
def store(store_url: str) -> Iterator[redis.Redis]:
    """A client of an empty database of the farm's store, which leaves bytes as they are."""
    client = redis.Redis.from_url(own_database(store_url))
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def own_site(tmp_path: Path) -> Site:
    """Servers that this test may kill."""
    return Site(tmp_path)


@pytest.fixture
def another() -> Iterator[Another]:
    """Begin another process, which runs what is submitted to it, in order."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")))


@pytest.fixture
def in_threads() -> Callable[..., list[Any]]:
    """Run a function of a number in so many threads at once; what each returned, in order."""

    def run(work: Callable[[int], Any], count: int) -> list[Any]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(work, range(count)))

    return run
