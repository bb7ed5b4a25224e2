"""The worker's pool through Celery's own controls: limits, revocation, size, acknowledgement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from celery.app.control import Inspect
from processes import Site, until

from echo_tasks import keys

SLOTS = 2


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Site]:
    """A farm whose one worker takes every step but grammar, has its slots by --concurrency, and is in no hurry."""
    site = Site(tmp_path_factory.mktemp("pool"), {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "1"})
    queues = ",".join(keys.queue(step) for step in keys.STEPS if step != "grammar")
    options = (f"--concurrency={SLOTS}", "-Q", queues, "-I", "tests.farm.unhurried")
    with site.server("broker"), site.server("store"), site.http(), site.worker(*options):
        yield site


@pytest.fixture(scope="module")
def celery(own: Site) -> Celery:
    """Celery as an operator's client."""
    return Celery(broker=own.broker_url)


def submit(farm: Site, *membranes: str, max_tokens: int = 4096) -> str:
    """Post a job that is long unless told otherwise."""
    body = {
        "input_text": "Hello.",
        "membranes": membranes or ["memory"],
        "options": {"max_tokens": max_tokens, "temperature": 0},
        "cache": False,
    }
    return str(farm.post("/api/jobs", body).json["job_id"])


def inspect(celery: Celery) -> Inspect:
    """Questions to the worker, which are over with its answer."""
    return celery.control.inspect(["worker@test"], limit=1)


def running(celery: Celery) -> dict[str, str]:
    """The ids of the tasks that run, by their jobs."""
    (tasks,) = (inspect(celery).active() or {"": []}).values()
    return {task["args"][0]: task["id"] for task in tasks}


def stats(celery: Celery) -> dict[str, Any]:
    """What the worker tells of its pool."""
    ((_, told),) = inspect(celery).stats().items()
    pool: dict[str, Any] = told["pool"]
    return pool


def nothing_is_unacknowledged(farm: Site) -> bool:
    """Whether the broker holds no message that a worker has."""
    with redis.Redis.from_url(farm.broker_url) as broker:
        return not broker.hlen("unacked")


def test_a_worker_has_a_thread_for_each_slot(own: Site, celery: Celery) -> None:
    """`celery -A echo_tasks worker` uses the farm's own pool by itself.

    `--concurrency` is the engine's too, whatever ECHO_SLOTS says: steps beyond that do not queue in the engine.
    """
    pool = stats(celery)
    assert pool["implementation"] == "workers.pool:TaskPool"
    assert (pool["max-concurrency"], pool["threads"]) == (SLOTS, SLOTS)
    with redis.Redis.from_url(own.broker_url) as broker:
        assert json.loads(broker.get(keys.worker("worker@test")))["slots"] == SLOTS


def test_a_revoked_task_ends_and_the_other_goes_on(own: Site, celery: Celery) -> None:
    """Its job ends with the reason, its message is acknowledged, and its slot is free for the next one."""
    doomed, other = submit(own), submit(own)
    until(lambda: len(running(celery)) == SLOTS, "both run")
    celery.control.revoke(running(celery)[doomed], terminate=True)
    job = own.ended(doomed)
    assert job["status"] == "failed"
    assert "cancelled" in str(job["error"])
    assert own.get(f"/api/jobs/{other}").json["status"] == "running"
    assert own.ended(submit(own, max_tokens=4))["status"] == "succeeded"
    own.request("DELETE", f"/api/jobs/{other}")
    until(lambda: nothing_is_unacknowledged(own), "every message is acknowledged")


@pytest.mark.parametrize("option", ["--soft-time-limit=1", "--time-limit=1"])
def test_a_time_limit_ends_the_task(own: Site, option: str) -> None:
    """The job ends with the reason, its message is acknowledged, and the worker goes on."""
    with own.worker(option, "-Q", keys.queue("grammar"), "-I", "tests.farm.unhurried", name="limited"):
        job = own.ended(submit(own, "grammar"))
        assert (job["status"], "time" in str(job["error"])) == ("failed", True)
        until(lambda: nothing_is_unacknowledged(own), "every message is acknowledged")
        assert own.ended(submit(own, "grammar", max_tokens=4))["status"] == "succeeded"


def test_the_pool_grows_and_shrinks(own: Site, celery: Celery) -> None:
    """As inspection tells, and without harm to what runs."""
    job_id = submit(own)
    until(lambda: running(celery), "it runs")
    celery.control.pool_grow(2, reply=True, limit=1)
    until(lambda: stats(celery)["threads"] == SLOTS + 2, "two more threads")
    celery.control.pool_shrink(3, reply=True, limit=1)
    until(lambda: stats(celery)["threads"] == SLOTS - 1, "three threads less")
    assert own.get(f"/api/jobs/{job_id}").json["status"] == "running"
    celery.control.pool_grow(1, reply=True, limit=1)
    own.request("DELETE", f"/api/jobs/{job_id}")
    until(lambda: stats(celery)["busy"] == 0, "it is cancelled")
    assert stats(celery)["max-concurrency"] == SLOTS
