"""Single flight: one computes for all who wait, in one process and in many, whatever becomes of the one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import redis
import second
from caching import Another, brief, own_database
from processes import Site, until

from cache.flight import Flights
from cache.tier import MISS, Miss

InThreads = Callable[..., list[Any]]


@pytest.fixture(params=["alone", "shared", "away"])
def flights(request: pytest.FixtureRequest, own_site: Site) -> Flights:
    """Flights of this process alone, of all processes, and of all processes while their server is away."""
    if request.param == "alone":
        return Flights()
    if request.param == "shared":
        return Flights(request.getfixturevalue("store"))
    return Flights(brief(own_site.store_url))


def computed(store: redis.Redis, key: str) -> int:
    """How often processes have computed a key."""
    return int(store.get(f"computed:{key}") or 0)


def test_of_five_hundred_one_computes(flights: Flights, in_threads: InThreads) -> None:
    """And all get what it has computed."""
    kept: list[object] = []

    def compute() -> object:
        kept.append(object())
        return kept[-1]

    got = in_threads(lambda _: flights.join("key", compute, lambda: kept[-1] if kept else MISS), 500)
    assert (len(kept), set(got)) == (1, set(kept))
    assert not flights.is_under_way("key")


def test_an_error_is_everybodys_and_forgotten(flights: Flights, in_threads: InThreads) -> None:
    """It is raised to all who waited, and the next caller computes again."""
    flights_of = threading.Semaphore(0)
    calls: list[int] = []

    def fail() -> bytes:
        calls.append(1)
        if len(calls) == 1:
            for _ in range(20):
                flights_of.acquire()
        raise LookupError("no value")

    def join(_: int) -> str:
        flights_of.release()
        try:
            flights.join("key", fail, lambda: MISS)
        except LookupError as error:
            return str(error)
        return "no error"

    assert in_threads(join, 20) == ["no value"] * 20
    assert not flights.is_under_way("key")
    assert flights.join("key", lambda: b"value", lambda: MISS) == b"value"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_end_of_the_computer_is_no_end_of_the_key(flights: Flights, error: type[BaseException]) -> None:
    """Whatever ends it, the next caller computes again, at once."""

    def end() -> bytes:
        raise error

    with pytest.raises(error):
        flights.join("key", end, lambda: MISS)
    assert flights.join("key", lambda: b"value", lambda: MISS) == b"value"


def test_keys_do_not_wait_for_one_another(flights: Flights) -> None:
    """One may even be computed within the computation of another."""
    assert flights.join("a", lambda: flights.join("b\ud800", lambda: 1, lambda: MISS) + 1, lambda: MISS) == 2


def test_what_is_found_meanwhile_is_not_computed(flights: Flights) -> None:
    """Another process may have kept it since it was missed."""
    found: bytes | Miss = flights.join("key", lambda: pytest.fail("computed"), lambda: b"found")
    assert found == b"found"


def submit(another: Another, count: int, *arguments: Any) -> list[tuple[int, Future[list[bytes | None]]]]:
    """Have so many processes read through; each with its process id."""
    pools = [another() for _ in range(count)]
    pids = [pool.submit(second.pid).result() for pool in pools]
    return [(pid, pool.submit(second.read_through, *arguments)) for pid, pool in zip(pids, pools, strict=True)]


def test_of_several_processes_one_computes(another: Another, store: redis.Redis, store_url: str) -> None:
    """All threads of all of them get its value, and nothing is left of its lease."""
    runs = submit(another, 3, own_database(store_url), "key", 40, 0.3)
    assert [run.result(30) for _, run in runs] == [[b"value"] * 40] * 3
    assert computed(store, "key") == 1
    assert list(store.scan_iter("echo:flight:*")) == []


def test_a_long_computation_keeps_its_place(another: Another, store: redis.Redis, store_url: str) -> None:
    """The lease is renewed while it lasts."""
    runs = submit(another, 2, own_database(store_url), "key", 3, 2.5, 1.2)
    assert [run.result(30) for _, run in runs] == [[b"value"] * 3] * 2
    assert computed(store, "key") == 1


def test_a_killed_computer_is_replaced(another: Another, store: redis.Redis, store_url: str) -> None:
    """Within seconds another process takes its place, and all others get the value."""
    ((pid, lost),) = submit(another, 1, own_database(store_url), "key", 2, 600.0)
    until(lambda: computed(store, "key") == 1, "it computes")
    others = submit(another, 2, own_database(store_url), "key", 20, 0.1)
    os.kill(pid, signal.SIGKILL)
    assert [run.result(15) for _, run in others] == [[b"value"] * 20] * 2
    assert computed(store, "key") == 2
    assert lost.exception(15) is not None


def test_a_stopped_computer_harms_nobody(another: Another, store: redis.Redis, store_url: str) -> None:
    """Another one takes its place; when it goes on it ends its own work, and takes nobody's lease away."""
    ((pid, stopped),) = submit(another, 1, own_database(store_url), "key", 2, 0.5, 0.4)
    until(lambda: computed(store, "key") == 1, "it computes")
    os.kill(pid, signal.SIGSTOP)
    try:
        (other,) = submit(another, 1, own_database(store_url), "key", 5, 0.1, 0.4)
        assert other[1].result(15) == [b"value"] * 5
        assert computed(store, "key") == 2
        store.set("echo:flight:key", b"somebody else's", px=60_000)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert stopped.result(15) == [b"value"] * 2
    assert computed(store, "key") == 2
    assert store.get("echo:flight:key") == b"somebody else's"
