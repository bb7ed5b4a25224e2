"""The pool by itself: how many tasks run at a time, and how their ends and limits are told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from workers import calls
from workers.pool import TaskPool

PATIENCE_S = 30


class Tasks:
    """Tasks that say that they run, and go on until they are let go or cancelled."""

    def __init__(self, pool: TaskPool) -> None:
        self.pool = pool
        self.running = threading.Semaphore(0)
        self.go = threading.Event()
        self.answers: list[Any] = []
        self.timeouts: list[tuple[bool, float]] = []
        self.idents: dict[str, int] = {}
        self.ended = threading.Semaphore(0)

    def put(self, name: str, body: Callable[[], Any] | None = None, **options: Any) -> Any:
        def run() -> Any:
            self.running.release()
            return body() if body else self.go.wait(PATIENCE_S)

        return self.pool.apply_async(
            run,
            accept_callback=lambda pid, at: self.idents.__setitem__(name, pid),
            callback=lambda answer: (self.answers.append((name, answer)), self.ended.release()),
            timeout_callback=lambda soft, limit: (self.timeouts.append((soft, limit)), self.ended.release()),
            **options,
        )

    def are_running(self, count: int) -> bool:
        """Whether so many more have begun."""
        return all(self.running.acquire(timeout=PATIENCE_S) for _ in range(count))

    def more_are_running(self) -> bool:
        """Whether another begins that should not, in the time that many would take."""
        return self.running.acquire(timeout=0.2)


@pytest.fixture
def tasks() -> Iterator[Tasks]:
    """Tasks in a pool of two threads."""
    pool = TaskPool(2)
    pool.start()
    tasks = Tasks(pool)
    yield tasks
    tasks.go.set()
    pool.stop()


def until_cancelled() -> str:
    """As the engine ends what it generates."""
    call = calls.current()
    while not call.cancelled.wait(0.01):
        if time.monotonic() >= call.deadline:
            return "late"
    return "cancelled"


def test_as_many_run_as_there_are_threads(tasks: Tasks) -> None:
    """The third waits in line, and runs when another has ended."""
    for name in "abc":
        tasks.put(name)
    assert tasks.are_running(2)
    assert not tasks.more_are_running()
    assert tasks.pool.info["busy"] == tasks.pool.info["threads"] == 2
    tasks.go.set()
    assert tasks.are_running(1)


def test_a_grown_pool_runs_more(tasks: Tasks) -> None:
    """At once, also of those in line."""
    for name in "abc":
        tasks.put(name)
    assert tasks.are_running(2)
    tasks.pool.grow(1)
    assert tasks.are_running(1)
    assert tasks.pool.num_processes == tasks.pool.info["max-concurrency"] == tasks.pool.info["threads"] == 3


def test_a_shrunk_pool_stops_no_task_and_runs_fewer_then(tasks: Tasks) -> None:
    """Both go on to their ends; of the next two, one waits."""
    for name in "ab":
        tasks.put(name)
    assert tasks.are_running(2)
    tasks.pool.shrink(1)
    assert tasks.pool.num_processes == 1
    tasks.go.set()
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    tasks.go.clear()
    for name in "cd":
        tasks.put(name)
    assert tasks.are_running(1)
    assert not tasks.more_are_running()
    assert sorted(name for name, _ in tasks.answers) == ["a", "b"]


@pytest.mark.parametrize("count", [2, 3])
def test_a_pool_keeps_a_thread(tasks: Tasks, count: int) -> None:
    """It says so, and stays as it was."""
    with pytest.raises(ValueError, match="pool of 2"):
        tasks.pool.shrink(count)
    assert tasks.pool.num_processes == 2


def test_the_pool_counts_for_how_long_its_threads_are_busy(tasks: Tasks) -> None:
    """All of them together, those that go on included; nothing for threads that wait."""
    before = time.monotonic()
    for name in "ab":
        tasks.put(name)
    assert tasks.are_running(2)
    time.sleep(0.1)
    assert tasks.pool.busy_s >= 2 * 0.1
    tasks.go.set()
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    tasks.pool.stop()
    used, over = tasks.pool.busy_s, time.monotonic()
    assert 0.2 <= used <= 2 * (over - before)
    time.sleep(0.05)
    assert tasks.pool.busy_s == used


def test_only_the_terminated_task_is_told(tasks: Tasks) -> None:
    """The other one goes on; Celery, which has announced the end itself, is told none."""
    tasks.put("a", until_cancelled)
    tasks.put("b")
    assert tasks.are_running(2)
    tasks.pool.terminate_job(tasks.idents["a"])
    tasks.put("c", lambda: "next")
    assert tasks.are_running(1), "the thread is free again"
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert tasks.answers == [("c", "next")]


def test_a_task_may_be_terminated_in_line(tasks: Tasks) -> None:
    """It runs, so that its end is recorded, but knows from the start that it is to end."""
    tasks.put("a")
    tasks.put("b")
    assert tasks.are_running(2)
    said: list[str] = []
    tasks.put("c", lambda: said.append(until_cancelled())).terminate()
    tasks.go.set()
    assert tasks.are_running(1)
    tasks.pool.stop()
    assert said == ["cancelled"]


def test_no_call_hears_of_another(tasks: Tasks) -> None:
    """A thread's next task starts without the bounds of the last."""
    tasks.pool.shrink(1)
    tasks.put("a", until_cancelled, timeout=0.05)
    tasks.put("b", lambda: calls.current().cancelled.is_set() or calls.current().deadline)
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert tasks.answers == [("b", float("inf"))]


def test_the_hard_limit_is_told_instead_of_the_answer(tasks: Tasks) -> None:
    """Once, after the task has ended."""
    tasks.put("a", until_cancelled, timeout=0.05)
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert (tasks.timeouts, tasks.answers) == ([(False, 0.05)], [])


def test_the_soft_limit_is_told_before_the_answer(tasks: Tasks) -> None:
    """The task that ends by itself at its soft limit has an answer."""
    tasks.put("a", until_cancelled, soft_timeout=0.05, timeout=60)
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert (tasks.timeouts, tasks.answers) == ([(True, 0.05)], [("a", "late")])


def test_a_task_that_is_in_time_meets_no_limit(tasks: Tasks) -> None:
    """Limits that are not reached change nothing."""
    tasks.put("a", lambda: 7, soft_timeout=60, timeout=60)
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert (tasks.timeouts, tasks.answers) == ([], [("a", 7)])


def test_a_faulty_end_costs_no_thread(tasks: Tasks) -> None:
    """What Celery's callbacks raise leaves the pool as it was."""
    tasks.pool.shrink(1)
    tasks.pool.apply_async(lambda: 1, callback=lambda answer: 1 / 0)
    tasks.put("b", lambda: 2)
    assert tasks.ended.acquire(timeout=PATIENCE_S)
    assert tasks.answers == [("b", 2)]


def test_stop_waits_for_what_runs_and_starts_nothing(tasks: Tasks) -> None:
    """What was in line never begins: its message is not acknowledged, and goes back."""
    for name in "abc":
        tasks.put(name)
    assert tasks.are_running(2)
    threading.Timer(0.1, tasks.go.set).start()
    tasks.pool.stop()
    assert sorted(name for name, _ in tasks.answers) == ["a", "b"]
    assert not tasks.more_are_running()


def test_terminate_waits_for_nobody(tasks: Tasks) -> None:
    """It returns while tasks run, and starts no other."""
    for name in "abc":
        tasks.put(name)
    assert tasks.are_running(2)
    tasks.pool.terminate()
    assert tasks.answers == []
    tasks.go.set()
    assert not tasks.more_are_running()
