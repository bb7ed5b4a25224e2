"""Celery's events of tasks as metrics: names, queues and times, whatever is heard, and only so many of each."""

from __future__ import annotations

import json

import pytest
from heard import CLIENT, WORKER, Ears, an_event, samples

from echo_tasks import keys
from monitoring.exporter.labels import LONGEST
from monitoring.exporter.tasks import MOST_VALUES, Tasks, exception_of

OURS = {"name": "echo.memory", "hostname": WORKER, "queue_name": "echo.memory"}


@pytest.fixture
def ears() -> Ears:
    return Ears()


def test_a_tasks_life(ears: Ears) -> None:
    """Each event is one more of its counter, under the name and queue that its first ones told."""
    ears.hear("task-sent", timestamp=50.0)
    for kind in ("task-received", "task-started", "task-succeeded"):
        ears.hear(kind, timestamp=52.5)
    assert ears.value("celery_task_sent_total", **OURS | {"hostname": CLIENT}) == 1
    for name in ("received", "started", "succeeded"):
        assert ears.value(f"celery_task_{name}_total", **OURS) == 1
    assert ears.value("celery_task_queue_wait_time_sum", **OURS) == 2.5
    assert ears.value("celery_task_runtime_sum", **OURS) == 0.5
    assert ears.value("celery_task_runtime_bucket", **OURS, le="0.5") == 1
    assert ears.refused() == {}
    assert ears.value("echo_exporter_events_total", type="task-started") == 1
    assert ears.value("echo_exporter_last_event_timestamp_seconds") == 1e9 + 100


def test_a_rate_has_a_zero_to_begin_with(ears: Ears) -> None:
    """The other counters of a worker's task are there from its first event on, as public dashboards expect."""
    ears.hear("task-received")
    assert ears.value("celery_task_succeeded_total", **OURS) == 0
    assert ears.value("celery_task_failed_total", **OURS, exception="") == 0
    assert ears.value("celery_task_sent_total", **OURS) is None


def test_what_was_sent_again_waits_anew(ears: Ears) -> None:
    """A step that is retried has been sent twice, and each time it waits for itself; a second start of one is none."""
    for sent, started in ((50.0, 51.0), (60.0, 63.0)):
        ears.hear("task-sent", timestamp=sent)
        ears.hear("task-started", timestamp=started)
    ears.hear("task-started", timestamp=99.0)
    assert ears.value("celery_task_queue_wait_time_sum", **OURS) == 1 + 3
    assert ears.value("celery_task_queue_wait_time_count", **OURS) == 2


def test_clocks_that_differ_are_no_negative_wait(ears: Ears) -> None:
    """Publisher and worker may be two machines."""
    ears.hear("task-sent", timestamp=50.0)
    ears.hear("task-started", timestamp=49.0)
    assert ears.value("celery_task_queue_wait_time_sum", **OURS) == 0


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("StepFailed('memory: its record tells why')", "StepFailed"),
        ("echo_tasks.errors.StepFailed('x')", "StepFailed"),
        ("no exception", "UnknownException"),
        (None, "UnknownException"),
        (7, "UnknownException"),
    ],
)
def test_a_failure_is_counted_by_its_exception(ears: Ears, told: object, name: str) -> None:
    """The class alone: messages are no labels."""
    ears.hear("task-failed", exception=told)
    assert ears.value("celery_task_failed_total", **OURS, exception=name) == 1
    assert exception_of(told) == name


def test_our_tasks_are_known_without_a_word_of_their_beginning(ears: Ears) -> None:
    """An exporter that starts late knows them by their ids; others it does not."""
    ears.hear("task-succeeded", uuid="abc.grammar")
    ears.hear("task-succeeded", uuid="0f3a")
    assert (
        ears.value("celery_task_succeeded_total", **OURS | {"name": "echo.grammar", "queue_name": "echo.grammar"}) == 1
    )
    unknown = {"name": "unknown", "hostname": WORKER, "queue_name": "unknown"}
    assert ears.value("celery_task_succeeded_total", **unknown) == 1


def test_workers_own_queues_are_one(ears: Ears) -> None:
    """Their names are as many as there ever were workers."""
    for node in range(3):
        ears.hear("task-sent", queue=keys.direct(f"w{node}@host"))
        ears.hear("task-received")
    assert ears.value("celery_task_received_total", **OURS | {"queue_name": "echo.direct"}) == 3
    assert list(ears.hearing.tasks.queues) == []


def test_a_task_of_others_is_counted_too(ears: Ears) -> None:
    """With its own queue, which is looked at from then on."""
    ears.hear("task-sent", uuid="1", name="mail.send", queue="mail")
    ears.hear("task-received", uuid="1", name="mail.send")
    labels = {"name": "mail.send", "hostname": WORKER, "queue_name": "mail"}
    assert ears.value("celery_task_received_total", **labels) == 1
    assert list(ears.hearing.tasks.queues) == ["mail"]


def test_ten_thousand_names_are_a_few_and_other(ears: Ears) -> None:
    """Of names, queues and exceptions; the farm's own are told apart whoever came before, and no count is lost."""
    for number in range(10_000):
        fields = {"uuid": str(number), "name": f"task{number}", "queue": f"queue{number}"}
        ears.hear("task-sent", **fields)
        ears.hear("task-failed", uuid=str(number), exception=f"Error{number}()")
    ears.hear("task-sent")
    ears.hear("task-failed", exception="StepFailed('x')")
    sent = samples([ears.registry], "celery_task_sent_total")
    assert len(sent) == MOST_VALUES + 2
    assert sum(value for _, value in sent) == 10_001
    assert ears.value("celery_task_sent_total", **OURS | {"hostname": CLIENT}) == 1
    failed = samples([ears.registry], "celery_task_failed_total")
    assert len(failed) <= 2 * (MOST_VALUES + 2)
    assert sum(value for _, value in failed) == 10_001
    beyond = 10_000 - MOST_VALUES
    assert ears.refused() == {"names": beyond, "queues": beyond, "exceptions": beyond + 1}


def test_memory_is_bounded(ears: Ears) -> None:
    """What was not heard of for the longest is forgotten first, and known by its id alone again."""
    tasks = Tasks(ears.hearing.tasks._metrics, ears.hearing.refuse, most_remembered=2)
    for uuid in ("a.memory", "b.memory", "c.memory"):
        tasks.heard("task-sent", CLIENT, an_event("task-sent", uuid=uuid, queue=keys.direct("w@h")))
        tasks.heard("task-received", WORKER, an_event("task-received", uuid="a.memory"))
    for uuid in ("a.memory", "c.memory", "b.memory"):
        tasks.heard("task-revoked", WORKER, an_event("task-revoked", uuid=uuid))
    revoked = samples([ears.registry], "celery_task_revoked_total")
    assert {labels["queue_name"]: value for labels, value in revoked} == {"echo.direct": 2, "echo.memory": 1}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (7, "garbage"),
        ("task-sent", "garbage"),
        ([["task-sent"]], "garbage"),
        ({}, "type"),
        ({"type": 5, "hostname": "h"}, "type"),
        ({"type": "task-invented", "hostname": "h"}, "type"),
        ({"type": "task-sent"}, "form"),
        (an_event("task-sent", hostname=""), "form"),
        (an_event("task-sent", uuid=None), "form"),
        (an_event("task-sent", uuid=["a"]), "form"),
        (an_event("task-started", timestamp="now"), "form"),
        (an_event("task-succeeded", runtime="long"), "form"),
        (an_event("task-succeeded", runtime=True), "form"),
    ],
)
def test_what_is_no_event_is_counted_as_that(ears: Ears, body: object, reason: str) -> None:
    """The events beside it in its message count, and nothing of it does."""
    ears.hearing.hear(
        [body, an_event("task-received")] if not isinstance(body, list) else [*body, an_event("task-received")]
    )
    assert ears.refused() == {reason: 1}
    assert ears.value("celery_task_received_total", **OURS) == 1
    assert {value for labels, value in samples([ears.registry], "celery_task_sent_total")} <= {0}


def test_events_of_older_and_newer_versions(ears: Ears) -> None:
    """Fields that are missing or strange do no harm where they are not needed; those that are new are passed over."""
    ears.hear("task-sent", queue=None, name=None)
    ears.hear("task-received", name=3, eta={}, invented=[1])
    ears.hear("worker-heartbeat", freq=None, active="many")
    ears.hear("task-started", clock="x", utcoffset=None)
    ears.hear("task-cancelled")
    assert ears.refused() == {}
    assert ears.value("celery_task_received_total", **OURS) == 1
    assert ears.value("celery_worker_up", hostname=WORKER) == 1


def test_long_names_are_cut(ears: Ears) -> None:
    """A name is a label, not a place to store things."""
    ears.hear("task-received", name="n" * 10_000)
    ((labels, _),) = samples([ears.registry], "celery_task_received_total")
    assert labels["name"] == "n" * LONGEST


def test_any_json_is_heard(ears: Ears) -> None:
    """Deep, huge and odd values raise nothing."""
    for text in ('{"type": {"type": []}}', "[[[[]]]]", "null", '{"hostname": 1e999, "type": "task-sent"}', '"\\ud800"'):
        ears.hearing.hear(json.loads(text))
    assert sum(ears.refused().values()) == 5
