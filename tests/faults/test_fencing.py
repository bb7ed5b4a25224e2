"""What only leases can promise: lost messages found, late workers fenced off, poison taken out."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from processes import PYTHON, Site, until

from echo_tasks import holding, keys

pytestmark = pytest.mark.farm

LEASE_S = 15
"""By when the reaper has published again what a dead worker held."""


@pytest.fixture
def own(tmp_path: Path, talkative: Path) -> Iterator[Site]:
    """A farm without a worker, whose messages Celery leaves with the dead for an hour."""
    site = Site(tmp_path, {"ECHO_SLOTS": "2", "ECHO_MODEL": str(talkative), "ECHO_VISIBILITY_S": "3600"})
    with site.server("broker"), site.server("store"), site.http():
        yield site


def submit(own: Site, text: str = "Hello.", max_tokens: int = 1500) -> str:
    options = {"max_tokens": max_tokens, "temperature": 0}
    body = {"input_text": text, "membranes": ["memory"], "options": options, "cache": False}
    return str(own.post("/api/jobs", body).json["job_id"])


def wait_until_running(own: Site, job_id: str) -> None:
    until(lambda: own.get(f"/api/jobs/{job_id}").json["status"] == "running", "it runs")


def lose_all_messages(own: Site) -> None:
    """As if every worker had died between a pop and its acknowledgement."""
    with redis.Redis.from_url(own.broker_url) as broker:
        broker.delete(holding.HELD, holding.INDEX)


def test_a_killed_workers_step_whose_message_is_gone_runs_again(own: Site) -> None:
    """Within the lease's time, and the job succeeds."""
    with own.worker(name="first") as first:
        job_id = submit(own)
        wait_until_running(own, job_id)
        with own.worker(name="second"):
            first.process.send_signal(signal.SIGKILL)
            lose_all_messages(own)
            until(lambda: own.get(f"/api/jobs/{job_id}").json["attempts"] == 2, "it runs again", LEASE_S)
            assert own.ended(job_id)["status"] == "succeeded"


@pytest.mark.timeout(240)
def test_a_worker_that_was_stopped_too_long_changes_nothing(own: Site) -> None:
    """Its step has run elsewhere; when it wakes up, neither answer nor events nor history know of it."""
    with own.worker(name="late") as late:
        job_id = submit(own)
        wait_until_running(own, job_id)
        with own.worker(name="second"):
            late.send(signal.SIGSTOP)
            job = own.ended(job_id, 150)
            ended = told(own, job_id)
            late.send(signal.SIGCONT)
            time.sleep(LEASE_S)
            assert own.get(f"/api/jobs/{job_id}").json == job
            assert told(own, job_id) == ended
            assert [kind for kind, _ in ended].count("result") == 1


def told(own: Site, job_id: str) -> list[tuple[str, dict[str, str]]]:
    """All events of the job."""
    with redis.Redis.from_url(own.broker_url, decode_responses=True) as broker:
        return [(fields["type"], json.loads(fields["data"])) for _, fields in broker.xrange(keys.events(job_id))]


_MORTAL = """
import os, signal, sys
from celery.__main__ import main
from workers.engine import Engine
submit = Engine.submit
def mortal(self, request):
    if "poison" in request.prompt: os.kill(os.getpid(), signal.SIGKILL)
    return submit(self, request)
Engine.submit = mortal
sys.argv = ["celery", "-A", "echo_tasks", "worker", "-n", "mortal@test"]
main()
"""


@contextmanager
def kept(own: Site) -> Iterator[None]:
    """A worker that dies of a certain text, started again whenever it has."""
    is_over = threading.Event()

    def keep() -> None:
        while not is_over.is_set():
            with own.run("mortal", PYTHON, "-c", _MORTAL) as worker:
                while not is_over.is_set() and worker.process.poll() is None:
                    is_over.wait(0.1)

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        is_over.set()
        keeper.join()


@pytest.mark.timeout(300)
def test_a_job_that_kills_its_workers_fails_and_the_next_one_is_answered(own: Site) -> None:
    """After a few deaths it is given up, and says why."""
    with kept(own):
        poison, other = submit(own, "This is poison."), submit(own, max_tokens=4)
        assert own.ended(other, 240)["status"] == "succeeded"
        job = own.ended(poison, 240)
        assert job["status"] == "failed"
        assert job["error"]
