"""A job of a release to come in a farm of this one: its worker goes on serving others, and a newer worker takes it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest
import redis
from processes import PYTHON, Running, Site, asked, until

from echo_tasks import connections, keys, records, versions
from echo_tasks.dispatch import Dispatcher
from echo_tasks.ledger import Ledger
from echo_tasks.messages import JobSpec, WorkerRecord
from echo_tasks.publishing import Publisher
from echo_tasks.versions import Since

pytestmark = pytest.mark.farm

NEWER = versions.LATEST + 1

JOB = {"input_text": "Hello.", "membranes": ["memory", "grammar"], "cache": False, "options": {"max_tokens": 2}}

_NEWER_WORKER = f"""
import sys
from typing import Annotated
from celery.__main__ import main
from echo_tasks import messages, records, versions
versions.LATEST = {NEWER}
class NewSpec(messages.JobSpec):
    voice: Annotated[str, versions.Since({NEWER})] = ""
records.JobSpec = NewSpec
sys.argv = ["celery", "-A", "echo_tasks", "worker", "-n", "newer@test"]
main()
"""


class NewSpec(JobSpec):
    """A job of a release to come."""

    voice: Annotated[str, Since(NEWER)] = ""


@pytest.fixture
def own(tmp_path: Path, talkative: Path) -> Iterator[Site]:
    """A farm without a worker."""
    site = Site(tmp_path, {"ECHO_SLOTS": "2", "ECHO_MODEL": str(talkative)})
    with site.server("broker"), site.server("store"), site.http():
        yield site


@pytest.fixture
def broker(own: Site) -> Iterator[redis.Redis]:
    with connections.impatient(own.broker_url) as client:
        yield client


def accepted_by_a_newer_api(own: Site, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a job with a field that this release does not know."""
    monkeypatch.setattr(versions, "LATEST", NEWER)
    monkeypatch.setattr(records, "JobSpec", NewSpec)
    spec = NewSpec.model_validate(JOB | {"job_id": "f" * 32, "session_id": "newer", "voice": "alto"})
    ledger = Ledger(broker, retention_s=600, session_s=600)
    ledger.create(spec)
    Dispatcher(ledger, Publisher(own.broker_url), None).advance("newer")
    monkeypatch.undo()
    return spec.job_id


@contextmanager
def newer_worker(own: Site, broker: redis.Redis) -> Iterator[Running]:
    """A worker of the release to come."""
    with own.run("newer", PYTHON, "-c", _NEWER_WORKER) as running:
        until(lambda: broker.exists(keys.worker("newer@test")) or running.process.poll() is not None, "it is ready")
        assert running.process.poll() is None, running.text()
        yield running


def test_a_job_that_no_worker_can_read_waits_for_one_that_can(
    own: Site, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no poison: it is refused ever more seldom, said once, and counted; then it is run, once."""
    with own.worker() as worker:
        job_id = accepted_by_a_newer_api(own, broker, monkeypatch)

        def told() -> WorkerRecord:
            return WorkerRecord.model_validate_json(broker.get(keys.worker("worker@test")))

        until(lambda: told().refused >= 4, "both of its steps are refused, and refused again", 20)
        before, began = told().refused, time.monotonic()
        assert told().reads == versions.LATEST
        for _ in range(3):
            other = own.post("/api/jobs", JOB).json["job_id"]
            assert own.ended(other)["status"] == "succeeded"
        assert told().refused - before <= 2 * (1 + time.monotonic() - began)
        assert worker.text().count("steps are left to newer workers") == 1
        metrics = asked(f"http://{told().metrics_address}/metrics")[1].decode()
        assert int(float(metrics.split("\necho_steps_refused_total ")[1].split()[0])) >= before

        found: dict[str, Any] = own.get(f"/api/jobs/{job_id}").json
        assert (found["status"], found["attempts"]) == ("queued", 0)
        assert broker.zcard(keys.DEAD_LETTERS) == 0
        with newer_worker(own, broker):
            worker.stop()
            ended = own.ended(job_id)
        assert (ended["status"], ended["attempts"]) == ("succeeded", 1)
        record = broker.hgetall(keys.job(job_id))
        assert {
            name: count for name, count in record.items() if name.startswith(("deaths", "losses")) and count != "0"
        } == {}
        assert "Traceback" not in worker.text()
