"""The Celery pool of a worker: threads that wait for the engine, as many as it has slots."""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from celery.concurrency.base import BasePool, apply_target

from echo_tasks import logs
from workers import calls
from workers.calls import Call

log = logs.get(__name__)


@dataclass(eq=False)
class Task:
    """A task in the pool: in line, or run by a thread."""

    run: Callable[[Callable[..., None]], None]
    """Runs it, and tells the function given the result, if there is one."""
    answered: Callable[..., None]
    timed_out: Callable[[bool, float], None] | None
    soft_limit_s: float
    hard_limit_s: float
    call: Call = field(default_factory=Call)
    is_terminated: bool = False

    def terminate(self, signal: int | None = None) -> None:
        """Have the engine end what the task generates, within a step."""
        self.is_terminated = True
        self.call.cancelled.set()


class Usage:
    """For how long how many threads were busy. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy, self._total_s, self._at = 0, 0.0, time.monotonic()

    def add(self, change: int) -> None:
        """Note that so many more are busy from now on."""
        with self._lock:
            self._count()
            self._busy += change

    @property
    def total_s(self) -> float:
        """Busy threads times seconds, up to now."""
        with self._lock:
            self._count()
            return self._total_s

    def _count(self) -> None:
        now = time.monotonic()
        self._total_s += self._busy * (now - self._at)
        self._at = now


class TaskPool(BasePool):  # type: ignore[misc]
    """Task threads of one process, of which `grow` makes more and `shrink` lets the first that are idle go.

    No thread can be stopped by force: limits and terminations reach the task through its `calls.Call`, which
    the engine looks at in every step. So the task ends by itself, and its step is recorded before its message is
    acknowledged. A time limit counts from the moment that a thread takes the task.
    """

    body_can_be_buffer = True
    signal_safe = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line: SimpleQueue[Task | None] = SimpleQueue()  # None lets a thread go
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._running: dict[int, Task] = {}  # by the identity of the thread
        self._usage = Usage()

    @property
    def busy_s(self) -> float:
        """Seconds that its threads have had tasks, over all threads, so far."""
        return self._usage.total_s

    def on_start(self) -> None:
        """Start the threads."""
        self._start(self.limit)

    def grow(self, n: int = 1) -> None:
        """Run `n` more tasks at a time. What the engine has no slots for waits in its line."""
        self.limit += n
        self._start(n)

    def shrink(self, n: int = 1) -> None:
        """Run `n` fewer tasks at a time, once that many have ended. Raises ValueError if none could be run then."""
        if n >= self.limit:
            raise ValueError(f"a pool of {self.limit} cannot be {n} smaller")
        self.limit -= n
        for _ in range(n):
            self._line.put(None)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        callback: Callable[..., None],
        accept_callback: Callable[..., None] | None = None,
        timeout_callback: Callable[[bool, float], None] | None = None,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> Task:
        """Put a task in line."""

        def run(answered: Callable[..., None]) -> None:
            apply_target(target, args, kwargs, answered, accept_callback, getpid=threading.get_ident)

        soft_timeout = soft_timeout or self.options.get("soft_timeout")  # the worker's own, of its command line
        timeout = timeout or self.options.get("timeout")
        task = Task(run, callback, timeout_callback, soft_timeout or math.inf, timeout or math.inf)
        self._line.put(task)
        return task

    def terminate_job(self, pid: int, signal: int | None = None) -> None:
        """End the task that a thread runs; `pid` is the thread's identity, as the task's acceptance told it."""
        if task := self._running.get(pid):
            task.terminate(signal)

    def on_stop(self) -> None:
        """Let running tasks end, and wait for them; the messages of those in line go back with the connection."""
        self._clear()
        for thread in tuple(self._threads):
            thread.join()

    def on_terminate(self) -> None:
        """Start nothing any more; messages that are not acknowledged go back with the connection."""
        self._clear()

    def _start(self, count: int) -> None:
        for _ in range(count):
            thread = threading.Thread(target=self._work, name="task", daemon=True)
            self._threads.add(thread)
            thread.start()

    def forget_line(self) -> None:
        """Take out all tasks that no thread has taken up; whoever calls gives their messages back."""
        let_go = 0
        with suppress(Empty):
            while True:
                let_go += self._line.get_nowait() is None
        for _ in range(let_go):
            self._line.put(None)

    def _clear(self) -> None:
        self.forget_line()
        for _ in tuple(self._threads):
            self._line.put(None)

    def _work(self) -> None:
        while task := self._line.get():
            self._running[threading.get_ident()] = task
            self._usage.add(1)
            calls.enter(task.call)
            try:
                self._run(task)
            except Exception:  # a fault in Celery's own callbacks must not cost the pool a thread
                log.exception("task's end was not taken")
            finally:
                calls.enter(Call())
                self._usage.add(-1)
                del self._running[threading.get_ident()]

    def _run(self, task: Task) -> None:
        started = time.monotonic()
        task.call.deadline = started + min(task.soft_limit_s, task.hard_limit_s)
        answer: list[tuple[Any, ...]] = []
        task.run(lambda *result: answer.append(result))
        took = time.monotonic() - started
        if task.is_terminated:
            return  # Celery has acknowledged and announced it
        if took >= task.hard_limit_s and task.timed_out is not None:
            return task.timed_out(False, task.hard_limit_s)
        if took >= task.soft_limit_s and task.timed_out is not None:
            task.timed_out(True, task.soft_limit_s)
        for result in answer:
            task.answered(*result)

    def _get_info(self) -> dict[str, Any]:
        alive = sum(thread.is_alive() for thread in tuple(self._threads))
        return {**super()._get_info(), "threads": alive, "busy": len(self._running)}
