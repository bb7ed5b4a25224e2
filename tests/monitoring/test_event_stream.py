"""Hearing Celery over a real broker: whatever is said there, and whatever becomes of the broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from heard import WORKER, Ears, samples
from kombu import Producer
from processes import Site, until
from prometheus_client import REGISTRY

from echo_tasks import addresses
from echo_tasks.celery import app
from monitoring.exporter import events
from monitoring.exporter.events import EventStream
from monitoring.exporter.tasks import MOST_VALUES

OURS = {"name": "echo.memory", "hostname": WORKER, "queue_name": "echo.memory"}


class Listening:
    """A stream on one broker, and Celery's own means to say something there."""

    def __init__(self, url: str, is_there_anybody: Callable[[], bool]) -> None:
        self.url = url
        self.ears = Ears()
        self.stream = EventStream(url, self.ears.hearing, self.ears.own, is_there_anybody)

    def say(self, kind: str, **fields: Any) -> None:
        """One event, as a worker says it."""
        with app.connection_for_write(addresses.for_celery(self.url)) as connection:
            self.dispatcher(connection).send(kind, **fields)

    def say_all(self, kind: str, many: list[dict[str, Any]]) -> None:
        """Many events in messages of a hundred, as workers say them."""
        with app.connection_for_write(addresses.for_celery(self.url)) as connection:
            dispatcher = app.events.Dispatcher(connection, hostname=WORKER, buffer_group=["task"], buffer_limit=100)
            for fields in many:
                dispatcher.send(kind, **fields)
            dispatcher.flush()

    def say_body(self, body: Any, **options: Any) -> None:
        """Any body in a message to whoever hears events."""
        with app.connection_for_write(addresses.for_celery(self.url)) as connection:
            exchange = self.dispatcher(connection).exchange
            producer = Producer(connection.default_channel, exchange, routing_key="task.multi")
            producer.publish(body, declare=[exchange], **options)

    def say_raw(self, data: bytes) -> None:
        """Bytes that are no message, where events come."""
        with redis.Redis.from_url(self.url) as client:
            database = client.connection_pool.connection_kwargs["db"]
            until(lambda: client.publish(f"/{database}.celeryev/task.sent", data), "somebody hears it")

    def dispatcher(self, connection: Any) -> Any:
        return app.events.Dispatcher(connection, hostname=WORKER)

    def count(self, kind: str) -> float:
        """Events heard so far, of a kind."""
        return self.ears.value("echo_exporter_events_total", type=kind) or 0

    def is_heard(self) -> bool:
        """Whether the gauge says so."""
        return self.ears.value("echo_exporter_connected") == 1


@pytest.fixture
def listening(broker_url: str) -> Iterator[Listening]:
    """On a database where nobody else says anything."""
    listening = Listening(broker_url.removesuffix("/0") + "/11", lambda: False)
    listening.stream.start()
    until(listening.is_heard, "events are heard")
    yield listening
    listening.stream.stop()


def dropped() -> float:
    """Messages so far that were none."""
    return REGISTRY.get_sample_value("echo_messages_dropped_total") or 0


def test_what_workers_say_is_heard(listening: Listening) -> None:
    """One by one, and many in a message."""
    listening.say("worker-heartbeat", freq=2.0, active=1)
    listening.say_all("task-received", [{"uuid": f"{number}.memory", "name": "echo.memory"} for number in range(250)])
    until(lambda: listening.count("task-received") == 250, "all are heard")
    assert listening.ears.value("celery_task_received_total", **OURS) == 250
    assert listening.ears.value("celery_worker_up", hostname=WORKER) == 1
    assert listening.ears.refused() == {}


def test_garbage_of_every_kind_is_counted_and_passed_over(listening: Listening) -> None:
    """Bytes, JSON that is no message, messages that are no events, events of other versions: the next one is heard."""
    dropped_before = dropped()
    bodies: list[Any] = ["text", 7, None, {}, [1, {"type": "task-sent"}], {"type": "task-invented", "hostname": "h"}]
    for body in bodies:
        listening.say_body(body)
    listening.say_body("\x80\x02.", serializer="raw", content_type="application/x-python-serialize")
    listening.say_body("{broken", content_type="application/json", content_encoding="utf-8")
    envelopes = [7, [], {}, {"body": 5, "properties": {}}, {"body": "e30=", "properties": {"body_encoding": "rot13"}}]
    for data in (b"\xff\xfe", b"no JSON", *(json.dumps(one).encode() for one in envelopes)):
        listening.say_raw(data)
    listening.say("task-received", uuid="a.memory", name="echo.memory")
    until(lambda: listening.count("task-received") == 1, "it goes on")
    # what is no JSON at all is kombu's to refuse, which it does with a warning
    assert listening.ears.refused() == {"garbage": 6, "type": 2, "form": 1}
    assert dropped() - dropped_before == len(envelopes)
    assert listening.is_heard()
    assert listening.ears.value("echo_exporter_reconnects_total") == 0


def test_ten_thousand_task_names(listening: Listening) -> None:
    """All are heard, a few are told apart, and the farm's own among them."""
    many = [{"uuid": str(number), "name": f"task{number}"} for number in range(10_000)]
    listening.say_all("task-received", many)
    listening.say("task-received", uuid="a.memory", name="echo.memory")
    until(lambda: listening.count("task-received") == 10_001, "all are heard")
    received = samples([listening.ears.registry], "celery_task_received_total")
    assert len(received) == MOST_VALUES + 2
    assert listening.ears.value("celery_task_received_total", **OURS) == 1
    assert listening.ears.refused() == {"names": 10_000 - MOST_VALUES}


def test_a_broker_that_restarts_is_heard_again(tmp_path: Path) -> None:
    """It is said that nothing is heard meanwhile; nobody counts as silent for it."""
    site = Site(tmp_path)
    listening = Listening(site.broker_url, lambda: False)
    listening.stream.start()
    try:
        with site.server("broker"):
            until(listening.is_heard, "events are heard")
            listening.say("worker-heartbeat", freq=2.0)
            until(lambda: listening.count("worker-heartbeat") == 1, "it is heard")
        until(lambda: not listening.is_heard(), "nothing is heard")
        listening.ears.now += 1000
        assert listening.ears.value("celery_worker_up", hostname=WORKER) == 1
        with site.server("broker"):
            until(listening.is_heard, "events are heard again")
            listening.say("task-received", uuid="a.memory", name="echo.memory")
            until(lambda: listening.count("task-received") == 1, "it is heard")
            assert listening.ears.value("echo_exporter_reconnects_total") == 1
            assert listening.ears.value("celery_worker_up", hostname=WORKER) == 1
    finally:
        listening.stream.stop()


def test_a_connection_that_has_gone_silent_is_replaced(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are workers, they are to be heard; where there are none, silence is nothing strange."""
    monkeypatch.setattr(events, "SILENT_S", 0.5)
    asked: list[bool] = []
    there = [False]
    listening = Listening(broker_url.removesuffix("/0") + "/11", lambda: asked.append(True) or there[0])  # type: ignore[func-returns-value]
    listening.stream.start()
    try:
        until(lambda: len(asked) >= 2, "silence is looked into")
        assert listening.ears.value("echo_exporter_reconnects_total") == 0
        there[0] = True
        until(lambda: (listening.ears.value("echo_exporter_reconnects_total") or 0) >= 1, "it begins anew")
        there[0] = False
        until(listening.is_heard, "events are heard again")
        listening.say("task-received", uuid="a.memory", name="echo.memory")
        until(lambda: listening.count("task-received") == 1, "it is heard")
    finally:
        listening.stream.stop()


def test_a_stream_that_never_found_its_broker_stops(tmp_path: Path) -> None:
    """At once: it is not waited for."""
    listening = Listening(Site(tmp_path).broker_url, lambda: False)
    listening.stream.start()
    until(lambda: listening.stream._thread.is_alive(), "it tries")
    listening.stream.stop()
    assert not listening.is_heard()
