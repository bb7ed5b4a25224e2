"""What Celery makes of a step's outcome: its own request and tracer, in our pool, with an outcome that is set."""

from __future__ import annotations

import json
import logging
import pickle
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import pytest
from celery.exceptions import Reject
from celery.worker.request import Request
from kombu.message import Message

from echo_tasks import tasks
from echo_tasks.celery import app
from echo_tasks.errors import StepFailed, StepOverdue, StepRejected
from echo_tasks.messages import StepOutput
from workers.outcomes import Outcome, Told
from workers.pool import TaskPool

PATIENCE_S = 30


class SetSteps:
    """Comes to one outcome, or raises."""

    def __init__(self) -> None:
        self.outcome: Outcome | Exception = Outcome.SUCCEEDED

    def run(self, job_id: str, step: str) -> Outcome:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


class Delivery:
    """One message to a worker, and all that Celery does about it."""

    def __init__(self, pool: TaskPool) -> None:
        self._pool = pool
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.acks: list[str] = []
        self._told = threading.Semaphore(0)

    def run(self) -> str:
        """Have the pool run it; the word of the event that ended it, or nothing when none did."""
        request = Request(
            self._message(),
            on_ack=lambda *_: self._over("acknowledged"),
            on_reject=lambda log, errors, requeue: self._over("put back" if requeue else "thrown away"),
            hostname="w@h",
            eventer=Mock(enabled=True, send=lambda kind, **fields: self.events.append((kind, fields))),
            app=app,
        )
        request.execute_using_pool(self._pool)
        assert self._told.acquire(timeout=PATIENCE_S)
        self._pool.stop()
        (started, *ends) = (kind.removeprefix("task-") for kind, _ in self.events)
        assert started == "started"
        assert len(ends) <= 1
        return ends[0] if ends else ""

    def _over(self, how: str) -> None:
        self.acks.append(how)
        self._told.release()

    def _message(self) -> Message:
        sent = app.amqp.as_task_v2("j.memory", "echo.memory", ("j",), {})
        return Message(
            body=json.dumps(sent.body),
            headers=sent.headers,
            properties=sent.properties,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_info={"exchange": "", "routing_key": "echo.memory"},
        )


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> SetSteps:
    steps = SetSteps()
    monkeypatch.setattr(tasks, "_runner", Told(steps))
    return steps


@pytest.fixture
def delivery() -> Iterator[Delivery]:
    pool = TaskPool(1)
    pool.start()
    yield Delivery(pool)
    pool.stop()


@pytest.mark.parametrize(
    ("outcome", "event", "exception"),
    [
        (Outcome.SUCCEEDED, "succeeded", None),
        (Outcome.FAILED, "failed", "StepFailed("),
        (Outcome.REJECTED, "failed", "StepRejected("),
        (Outcome.OVERDUE, "failed", "StepOverdue("),
        (Outcome.CANCELLED, "revoked", None),
        (Outcome.POSTPONED, "retried", "Retry("),
        (Outcome.NOTHING, "", None),
    ],
)
def test_what_celery_is_told(
    steps: SetSteps,
    delivery: Delivery,
    caplog: pytest.LogCaptureFixture,
    outcome: Outcome,
    event: str,
    exception: str | None,
) -> None:
    """One event, or none where nothing was done; the message is acknowledged, once; no log has a traceback."""
    steps.outcome = outcome
    with caplog.at_level(logging.INFO):
        assert delivery.run() == event
    assert delivery.acks == ["acknowledged"]
    if exception is not None:
        assert delivery.events[-1][1]["exception"].startswith(exception)
    if event == "revoked":
        assert delivery.events[-1][1] == {
            "uuid": "j.memory",
            "terminated": True,
            "signum": "cancelled",
            "expired": False,
        }
    assert [record for record in caplog.records if record.exc_info or record.levelno > logging.INFO] == []


def test_what_is_handed_back_is_put_back(steps: SetSteps, delivery: Delivery) -> None:
    """Not acknowledged: another worker has it, or this one again."""
    steps.outcome = Reject("away", requeue=True)
    assert delivery.run() == "rejected"
    assert delivery.acks == ["put back"]


def test_a_mistake_of_ours_is_a_failure_with_a_traceback(
    steps: SetSteps, delivery: Delivery, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody expected is no step's end: Celery says so, and logs it whole."""
    steps.outcome = ZeroDivisionError("a mistake")
    assert delivery.run() == "failed"
    assert delivery.acks == ["acknowledged"]
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


@pytest.mark.parametrize("kind", [StepFailed, StepRejected, StepOverdue])
def test_errors_survive_what_celery_does_to_them(kind: type[StepFailed]) -> None:
    """It pickles them; one that cannot be is another one, by another name."""
    again = pickle.loads(pickle.dumps(kind("memory: why")))  # noqa: S301 - our own
    assert (type(again), str(again)) == (kind, "memory: why")


@pytest.mark.parametrize(
    ("output", "outcome"),
    [
        (StepOutput(text="a"), Outcome.SUCCEEDED),
        (StepOutput(error="secret"), Outcome.FAILED),
        (StepOutput(error="secret", rejected=True), Outcome.REJECTED),
        (StepOutput(error="cancelled", cancelled=True), Outcome.CANCELLED),
    ],
)
def test_an_outputs_outcome(output: StepOutput, outcome: Outcome) -> None:
    """What metrics call it is what the ledger counts."""
    assert Outcome.of(output) is outcome
    assert outcome.word == output.outcome


def test_no_error_tells_what_was_asked(steps: SetSteps, delivery: Delivery) -> None:
    """Neither its message, nor its traceback, which names the causes of an error: it has none."""
    try:
        raise ValueError("My name is Zorla.")
    except ValueError:
        steps.outcome = Outcome.FAILED
        delivery.run()
    assert "Zorla" not in json.dumps(delivery.events)
    assert "its record tells why" in delivery.events[-1][1]["traceback"]
