"""How many workers a machine carries: by cores, by memory, and what is said of it."""

from __future__ import annotations

import pytest

from autoscale.actuators.carrying import room
from autoscale.observation import Instance, Room
from echo_tasks.machine import GIB, Memory

LARGE = Memory(64 * GIB, 60 * GIB)


def worker(number: int = 1, *, threads: int = 1, holds: float = 1.0, may_hold: float = 1.0) -> Instance:
    """A worker of so many threads, and GiB of memory."""
    memory = {"memory_bytes": round(holds * GIB), "memory_most_bytes": round(may_hold * GIB)}
    return Instance(f"worker{number}@h", 8, 0, 1.0, threads=threads, **memory)


@pytest.mark.parametrize(
    ("cores", "threads", "most", "bound"),
    [(2, 1, 2, "2 of 2 cores"), (2, 2, 1, "2 of 2 cores"), (5, 2, 2, "4 of 5 cores"), (2, 4, 1, "4 of 2 cores")],
)
def test_workers_times_threads_are_no_more_than_the_cores(cores: int, threads: int, most: int, bound: str) -> None:
    """One is carried always, though it has more threads than there are cores."""
    assert room(cores, LARGE, [worker(threads=threads)], 0) == Room(most, bound)


def test_as_long_as_none_lives_the_settings_threads_count() -> None:
    assert room(8, LARGE, [], 0, threads=2).most == 4


def test_the_one_with_the_most_threads_counts_for_all() -> None:
    assert room(8, LARGE, [worker(1), worker(2, threads=4)], 0).most == 2


def test_memory_is_kept_for_what_workers_may_come_to_hold() -> None:
    """8 GiB, 0.8 of them a reserve, 5 available: one worker holds 1 and may hold 2, so one more of 2 finds room."""
    memory = Memory(8 * GIB, 5 * GIB)
    assert room(16, memory, [worker(holds=1, may_hold=2)], 0) == Room(2, "4.0 of 8.0 GiB")
    assert room(16, memory, [worker(holds=1, may_hold=1)], 0) == Room(5, "5.0 of 8.0 GiB")


def test_a_full_memory_makes_room_for_fewer_but_for_the_last() -> None:
    """What has taken of the reserve is given back, by as many workers as that takes."""
    several = [worker(number) for number in range(4)]
    assert room(16, Memory(8 * GIB, 0), several, 0) == Room(3, "3.0 of 8.0 GiB")
    assert room(16, Memory(8 * GIB, 0), several[:1], 0).most == 1


def test_who_starts_is_not_told_to_go_for_want_of_memory() -> None:
    """What it will hold is partly taken already, and nobody knows how much of it."""
    assert room(16, Memory(8 * GIB, GIB), [worker()], 2).most == 3


def test_workers_that_tell_nothing_are_carried_by_cores() -> None:
    """Those of an older release have no figures."""
    assert room(2, Memory(GIB, 0), [Instance("a@h", 8, 0, 1.0)], 0) == Room(2, "2 of 2 cores")
