"""Celery's workers as they are heard: up, silent, gone, and no more of them than there may be."""

from __future__ import annotations

import pytest
from heard import CLIENT, WORKER, Ears, samples

from monitoring.exporter.workers import GONE_S, MOST_NODES, SILENT_S


@pytest.fixture
def ears() -> Ears:
    return Ears()


def up(ears: Ears) -> dict[str, float]:
    return {labels["hostname"]: value for labels, value in samples([ears.registry], "celery_worker_up")}


def after(ears: Ears, seconds: float) -> None:
    """Let time pass, and have the nodes looked at."""
    ears.now += seconds
    ears.hearing.workers.look(ears.now)


def test_a_heartbeat_tells_that_it_is_up_and_what_it_does(ears: Ears) -> None:
    """By its full name: two workers of a machine are two."""
    ears.hear("worker-online")
    ears.hear("worker-heartbeat", hostname="worker2@host", active=3)
    assert up(ears) == {WORKER: 1, "worker2@host": 1}
    assert ears.value("celery_worker_tasks_active", hostname="worker2@host") == 3


def test_one_that_falls_silent_is_down_and_then_forgotten(ears: Ears) -> None:
    """Its gauges and its counters; what others have counted stays."""
    ears.hear("worker-heartbeat")
    ears.hear("task-received")
    after(ears, SILENT_S)
    assert up(ears) == {WORKER: 1}
    after(ears, 0.5)
    assert up(ears) == {WORKER: 0}
    assert ears.value("celery_worker_tasks_active", hostname=WORKER) == 0
    ears.hear("task-received", hostname="worker2@host")
    after(ears, GONE_S - SILENT_S)
    assert up(ears) == {}
    received = samples([ears.registry], "celery_task_received_total")
    assert [labels["hostname"] for labels, _ in received] == ["worker2@host"]
    ears.hear("task-received")
    assert ears.refused() == {}


def test_one_that_says_goodbye_is_not_down(ears: Ears) -> None:
    """It is no alert's business: it has no gauges any more, and its counters stay for those who read them later."""
    ears.hear("worker-heartbeat")
    ears.hear("task-received")
    ears.hear("worker-offline")
    assert up(ears) == {}
    assert len(samples([ears.registry], "celery_task_received_total")) == 1
    after(ears, 2 * SILENT_S)
    assert up(ears) == {}
    ears.hear("worker-heartbeat")
    assert up(ears) == {WORKER: 1}


def test_slow_heartbeats_have_their_time(ears: Ears) -> None:
    """Three of them may be missing."""
    ears.hear("worker-heartbeat", freq=60.0)
    after(ears, 179)
    assert up(ears) == {WORKER: 1}
    after(ears, 2)
    assert up(ears) == {WORKER: 0}


def test_a_time_in_which_nobody_could_be_heard_is_nobodys_silence(ears: Ears) -> None:
    """After an outage of the broker all have the time for a heartbeat."""
    ears.hear("worker-heartbeat")
    ears.now += 10 * SILENT_S
    ears.hearing.workers.listening_again(ears.now)
    after(ears, SILENT_S / 2)
    assert up(ears) == {WORKER: 1}


def test_a_client_is_no_worker(ears: Ears) -> None:
    """What publishes is not up or down; it is forgotten like a worker."""
    ears.hear("task-sent")
    assert up(ears) == {}
    assert [labels["hostname"] for labels, _ in samples([ears.registry], "celery_task_sent_total")] == [CLIENT]
    after(ears, GONE_S + 1)
    assert samples([ears.registry], "celery_task_sent_total") == []


def test_there_are_only_so_many_nodes(ears: Ears) -> None:
    """The rest are one, `other`, until places are free."""
    for number in range(MOST_NODES + 50):
        ears.hear("worker-heartbeat", hostname=f"w{number}@host")
    assert len(up(ears)) == MOST_NODES + 1
    assert ears.refused() == {"hostnames": 50}
    after(ears, GONE_S + 1)
    ears.hear("worker-heartbeat", hostname="w0@host")
    ears.hear("worker-heartbeat", hostname="another@host")
    assert up(ears) == {"w0@host": 1, "another@host": 1}
