"""How a worker leaves its queues: for good, with what it has not begun given back, and not before it holds nothing."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from celery.app.amqp import Queues
from celery.worker import state
from kombu import Queue

from workers import draining
from workers.draining import Draining
from workers.pool import TaskPool

PATIENCE_S = 30


class Request:
    """A request, as far as its giving back goes."""

    def __init__(self, tag: str) -> None:
        self.id = tag
        self.rejected = False

    def reject(self, requeue: bool) -> None:
        self.rejected = requeue


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A worker whose pool has one thread, with one task that it runs and one in line."""
    pool = TaskPool(1)
    pool.start()
    running, go = threading.Event(), threading.Event()
    began: list[str] = []

    def first() -> None:
        running.set()
        go.wait(PATIENCE_S)

    for body in (first, lambda: began.append("second")):
        pool.apply_async(body, callback=lambda _: None)
    assert running.wait(PATIENCE_S)
    requests = {name: Request(name) for name in ("active", "waiting")}
    monkeypatch.setattr(state, "should_stop", None)
    monkeypatch.setattr(state, "reserved_requests", set(requests.values()))
    monkeypatch.setattr(state, "active_requests", {requests["active"]})
    monkeypatch.setattr(state, "task_ready", state.reserved_requests.discard)
    held = {"a message"}
    monkeypatch.setattr(draining, "held", lambda _: held)
    cancelled: list[str] = []
    queues = Queues([Queue("one"), Queue("two")], create_missing=False)
    consumer = SimpleNamespace(
        app=SimpleNamespace(amqp=SimpleNamespace(queues=queues)),
        task_consumer=SimpleNamespace(cancel_by_queue=cancelled.append),
        hub=SimpleNamespace(call_soon=lambda call, *args: call(*args)),
    )
    yield SimpleNamespace(
        pool=pool, consumer=consumer, requests=requests, cancelled=cancelled, held=held, go=go, began=began
    )
    go.set()
    pool.stop()


def test_nothing_is_left_before_it_is_asked(worker: Any) -> None:
    """A worker that nobody asks goes on."""
    Draining(worker).look()
    assert (worker.cancelled, state.should_stop) == ([], None)


def test_the_queues_are_left_for_good(worker: Any) -> None:
    """None is selected any more, so that a new connection consumes none; once is enough."""
    leaving = Draining(worker)
    leaving.asked = True
    leaving.look()
    leaving.look()
    assert worker.cancelled == ["one", "two"]
    assert not worker.consumer.app.amqp.queues.consume_from


def test_what_was_not_begun_goes_back_and_is_not_run(worker: Any) -> None:
    """What runs, runs on; the threads stay."""
    leaving = Draining(worker)
    leaving.asked = True
    leaving.look()
    assert {name: request.rejected for name, request in worker.requests.items()} == {"active": False, "waiting": True}
    again = threading.Event()
    worker.go.set()
    worker.pool.apply_async(again.set, callback=lambda _: None)
    assert again.wait(PATIENCE_S)
    assert worker.began == []


def test_it_ends_when_it_holds_nothing(worker: Any) -> None:
    """With status 0, however often it had to look."""
    leaving = Draining(worker)
    leaving.asked = True
    for _ in range(3):
        leaving.look()
    assert state.should_stop is None
    worker.held.clear()
    leaving.look()
    assert state.should_stop == 0


def test_without_a_connection_the_queues_are_left_too(worker: Any) -> None:
    """There is nothing to cancel, and the next connection consumes nothing."""
    worker.consumer.task_consumer = None
    leaving = Draining(worker)
    leaving.asked = True
    leaving.look()
    assert not worker.consumer.app.amqp.queues.consume_from
