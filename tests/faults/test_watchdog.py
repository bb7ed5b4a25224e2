"""The watchdog on a worker's consumption: it bites the deaf, and nobody else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from celery import Celery
from processes import PYTHON, Running, Site, until

from echo_tasks import keys
from echo_tasks.messages import WorkerRecord
from workers.watchdog import Remedy, remedy

JOB = {"input_text": "Hello.", "membranes": ["memory"], "cache": False, "options": {"max_tokens": 2}}

HASTE = 10
"""How many times sooner than usual the watchdog of these tests acts."""

_HASTY = f"""
import sys, time
from celery.__main__ import main
from kombu.transport import redis
from workers import watchdog
as_usual = watchdog.remedy
watchdog.LOOK_S /= {HASTE}
watchdog.remedy = lambda stalled_s, silent_s: as_usual({HASTE} * stalled_s, {HASTE} * silent_s)
start = redis.Channel._brpop_start
def brpop_start(self, timeout=None):
    if not ("echo.memory" in self.active_queues and is_deaf(self)): start(self, timeout)
redis.Channel._brpop_start = brpop_start
PATCH
sys.argv = ["celery", "-A", "echo_tasks", "worker", "-n", "hasty@test"]
main()
"""

HEALTHY = """
is_deaf = lambda channel: False
"""

DEAF_ONCE = """
def patient(stalled_s, silent_s):  # a new consumer has the usual ten seconds, on a machine that may be busy
    reconnects_at = watchdog.STALLED_S / 4  # late enough for two heartbeats to tell of it
    sooner_s = min(stalled_s, reconnects_at)
    return as_usual(4 * sooner_s + stalled_s - sooner_s, silent_s)
watchdog.remedy = patient
deafened = []
def is_deaf(channel):
    deafened.append(channel)
    return channel is deafened[0]
"""

DEAF = """
is_deaf = lambda channel: True
"""

WEDGED = """
is_deaf = lambda channel: time.sleep(3600)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Site]:
    """A farm without a worker: each test has one of its own, and leaves no open jobs."""
    env = {"ECHO_SLOTS": "1", "ECHO_MODEL": str(talkative), "ECHO_GRACE_S": "0"}
    site = Site(tmp_path_factory.mktemp("watched"), env)
    with site.server("broker"), site.server("store"), site.http():
        yield site


_numbers = itertools.count()
"""Of the workers: each has a log of its own."""


@contextmanager
def hasty(own: Site, patch: str = HEALTHY) -> Iterator[Running]:
    """A worker whose watchdog is hasty; yielded once it is announced or has ended."""
    with redis.Redis.from_url(own.broker_url) as client:
        client.delete(keys.worker("hasty@test"))  # of the test before
    with own.run(f"hasty{next(_numbers)}", PYTHON, "-c", _HASTY.replace("PATCH", patch)) as worker:
        until(lambda: record(own) or worker.process.poll() is not None, "it is announced")
        yield worker


def record(own: Site) -> WorkerRecord | None:
    """What the worker says of itself."""
    with redis.Redis.from_url(own.broker_url) as client:
        text = client.get(keys.worker("hasty@test"))
    return WorkerRecord.model_validate_json(text) if text else None


@pytest.mark.parametrize(
    ("stalled_s", "silent_s", "due"),
    [
        (0, 0, Remedy.NONE),
        (19, 59, Remedy.NONE),
        (20, 0, Remedy.RECONNECT),
        (30, 0, Remedy.END),
        (45, 0, Remedy.EXIT),
        (0, 60, Remedy.EXIT),
    ],
)
def test_remedies_get_harder(stalled_s: float, silent_s: float, due: Remedy) -> None:
    """First the consumer, then the process; at once where nothing is heard."""
    assert remedy(stalled_s, silent_s) is due


@pytest.mark.farm
def test_a_consumer_that_is_deaf_begins_anew_and_its_job_ends(own: Site) -> None:
    """The worker lives on, and tells meanwhile for how long it has taken nothing."""
    with hasty(own, DEAF_ONCE) as worker:
        job_id = own.post("/api/jobs", JOB).json["job_id"]
        until(lambda: (it := record(own)) and it.stalled_s > 1, "it says so")
        assert own.ended(job_id)["status"] == "succeeded"
        until(lambda: (it := record(own)) and it.stalled_s == 0, "it says so")
        assert worker.process.poll() is None, worker.text()
        assert "remedy=reconnect" in worker.text()
        assert "remedy=end" not in worker.text()


@pytest.mark.farm
@pytest.mark.parametrize("patch", [DEAF, WEDGED], ids=["deaf", "wedged"])
def test_a_worker_that_stays_deaf_ends_with_a_failures_status(own: Site, patch: str) -> None:
    """So that whoever keeps it starts another."""
    with hasty(own, patch) as worker:
        job_id = own.post("/api/jobs", JOB).json["job_id"]
        assert until(lambda: worker.process.poll(), "it ends") == 70, worker.text()
    own.request("DELETE", f"/api/jobs/{job_id}")


@pytest.mark.farm
def test_who_is_full_or_paused_is_left_alone(own: Site) -> None:
    """Neither is taken for deaf, though the queues have messages; and jobs end afterwards."""
    broker = Celery(broker=own.broker_url)
    long_job = JOB | {"options": {"max_tokens": 4096}}
    with hasty(own) as worker:
        ids = [own.post("/api/jobs", long_job).json["job_id"] for _ in range(2)]
        undisturbed(own, worker)
        for job_id in ids:
            own.request("DELETE", f"/api/jobs/{job_id}")

        broker.control.cancel_consumer("echo.memory", reply=True)
        job_id = own.post("/api/jobs", JOB).json["job_id"]
        undisturbed(own, worker)
        broker.control.add_consumer("echo.memory", reply=True)
        assert own.ended(job_id)["status"] == "succeeded"


def undisturbed(own: Site, worker: Running) -> None:
    """For longer than the watchdog would take to end the worker it does nothing."""
    with pytest.raises(AssertionError, match="never"):
        until(lambda: worker.process.poll() is not None or "remedy=" in worker.text(), "never", 36 / HASTE)
