"""Values that are computed when they are missing: once, again when stale, and never kept when they are void."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from caching import Clock
from processes import Site, until
from test_tags import Process
from test_tiered import Ahead

from cache.changes import Changes
from cache.flight import Flights
from cache.memory import MemoryTier
from cache.read_through import JITTER_RATIO, ReadThrough
from cache.shared import SharedTier
from cache.tags import Tags
from cache.tiered import TieredCache
from echo_tasks import connections

TTL_S = 60.0


class Computation:
    """Numbered values, or errors; it may be held up."""

    def __init__(self) -> None:
        self.count = 0
        self.may_end = threading.Event()
        self.may_end.set()
        self.error: Exception | None = None

    def __call__(self) -> bytes:
        self.count += 1
        number = self.count
        assert self.may_end.wait(30)
        if self.error:
            raise self.error
        return b"%d" % number


@pytest.fixture
def compute() -> Iterator[Computation]:
    """A computation."""
    computation = Computation()
    yield computation
    computation.may_end.set()


@pytest.fixture
def cache(clock: Clock) -> TieredCache:
    """Memory alone."""
    return TieredCache(MemoryTier(1_000_000, clock=clock), clock=clock)


@pytest.fixture
def through(cache: TieredCache) -> ReadThrough:
    """Reading through it, in this process alone."""
    return ReadThrough(cache, Flights())


def test_a_value_is_computed_once(through: ReadThrough, compute: Computation, in_threads: Callable[..., Any]) -> None:
    """However many ask, before and after."""
    assert in_threads(lambda _: through.get("key", compute, TTL_S), 500) == [b"1"] * 500
    assert through.get("key", compute, TTL_S) == b"1"
    assert through.get("other", compute, TTL_S) == b"2"


def test_a_value_expires(through: ReadThrough, compute: Computation, clock: Clock) -> None:
    """Not before its time less the jitter, and not after."""
    through.get("key", compute, TTL_S)
    clock.now += TTL_S * (1 - JITTER_RATIO) - 0.01
    assert through.get("key", compute, TTL_S) == b"1"
    clock.now += TTL_S * JITTER_RATIO + 0.01
    assert through.get("key", compute, TTL_S) == b"2"


def test_an_error_is_raised_and_not_kept(through: ReadThrough, compute: Computation) -> None:
    """The next caller computes again."""
    compute.error = LookupError("no value")
    for _ in range(2):
        with pytest.raises(LookupError, match="no value"):
            through.get("key", compute, TTL_S)
    compute.error = None
    assert through.get("key", compute, TTL_S) == b"3"


@pytest.mark.parametrize(("nothing_ttl_s", "kept_s"), [(5.0, 5.0), (None, TTL_S)])
def test_nothing_is_kept_for_its_own_time(
    through: ReadThrough, clock: Clock, nothing_ttl_s: float | None, kept_s: float
) -> None:
    """None is a result like others, but that its time may be its own."""
    calls: list[int] = []
    for expected, later_s in [(1, 0.0), (1, kept_s - 0.01), (2, 0.01)]:
        clock.now += later_s
        found = through.get("key", lambda: calls.append(1), TTL_S, nothing_ttl_s=nothing_ttl_s, jitter_ratio=0.0)  # type: ignore[func-returns-value]
        assert (found, len(calls)) == (None, expected)


def test_a_stale_value_is_served_while_one_refreshes(
    through: ReadThrough, compute: Computation, clock: Clock, in_threads: Callable[..., Any]
) -> None:
    """Nobody waits for the new one, which is computed once."""

    def get(_: int = 0) -> bytes | None:
        return through.get("key", compute, TTL_S, stale_s=30.0)

    get()
    clock.now += TTL_S
    compute.may_end.clear()
    assert in_threads(get, 100) == [b"1"] * 100
    until(lambda: compute.count == 2, "the refresh runs")
    assert in_threads(get, 100) == [b"1"] * 100
    compute.may_end.set()
    until(lambda: get() == b"2", "the new value is served")
    assert compute.count == 2


def test_a_refresh_that_fails_costs_nobody(
    through: ReadThrough, compute: Computation, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The old value is served on, each failure is told, and a later refresh succeeds."""

    def get() -> bytes | None:
        return through.get("key", compute, TTL_S, stale_s=30.0)

    get()
    clock.now += TTL_S
    compute.error = LookupError("no value")
    assert get() == b"1"
    until(lambda: "not computed anew" in caplog.text, "it is told")
    assert get() == b"1"
    compute.error = None
    until(lambda: get() != b"1", "it is computed anew")


def test_processes_refresh_a_value_once(store: redis.Redis, compute: Computation) -> None:
    """A process whose own copy is stale takes the fresh one that another has kept."""
    ahead = Ahead()
    mine, theirs = (
        ReadThrough(
            TieredCache(MemoryTier(10_000, clock=ahead), [SharedTier(store, clock=ahead)], clock=ahead), Flights(store)
        )
        for _ in range(2)
    )

    def both() -> list[bytes | None]:
        return [through.get("key", compute, TTL_S, stale_s=600.0) for through in (mine, theirs)]

    assert both() == [b"1", b"1"]
    ahead.by_s = TTL_S
    assert both() == [b"1", b"1"]
    until(lambda: both() == [b"2", b"2"], "both have the new one")
    assert compute.count == 2


def test_an_invalidation_during_a_computation_leaves_no_entry(broker_url: str, prefix: str) -> None:
    """The caller gets what it has computed, and the next one computes again."""
    mine = Process(broker_url)
    through, calls = ReadThrough(mine.cache, Flights()), list[int]()

    def compute() -> bytes:
        calls.append(1)
        if len(calls) == 1:
            mine.tags.invalidate([prefix])
        return b"%d" % len(calls)

    got = [through.get("key", compute, TTL_S, tags=[prefix]) for _ in range(3)]
    assert got == [b"1", b"2", b"2"]
    mine.stop()


def test_without_the_server_of_tags_nothing_tagged_is_kept(clock: Clock, own_site: Site, compute: Computation) -> None:
    """Values are computed, served, and kept only where they have no tags; no error reaches a caller."""
    with connections.impatient(own_site.broker_url) as nobody:
        changes = Changes(nobody)
        cache = TieredCache(MemoryTier(10_000, clock=clock), tags=Tags(nobody, changes), clock=clock)
        through = ReadThrough(cache, Flights(nobody))
        tagged = [through.get("tagged", compute, TTL_S, tags=["tag"]) for _ in range(2)]
        free = [through.get("free", compute, TTL_S) for _ in range(2)]
    assert (tagged, free) == ([b"1", b"2"], [b"3", b"3"])


def test_the_store_away_each_computes_for_itself(own_site: Site, compute: Computation, in_threads: Any) -> None:
    """Once a process, and nobody is failed."""
    with connections.hasty(own_site.store_url) as nobody:
        for number in (1, 2):
            cache = TieredCache(MemoryTier(10_000), [SharedTier(nobody)])
            through = ReadThrough(cache, Flights(nobody))
            got = in_threads(lambda _, through=through: through.get("key", compute, TTL_S), 50)
            assert got == [b"%d" % number] * 50
