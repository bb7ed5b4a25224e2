"""A farm that is full, and a broker that takes no writes: clear words, no storms, nothing accepted is lost."""

from __future__ import annotations

import resource
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from processes import Running, Site, answers, free_port, until

from echo_tasks.local import servers
from echo_tasks.settings import load

pytestmark = pytest.mark.farm

JOB = {"input_text": "Hello.", "cache": False, "options": {"max_tokens": 2}}


def site(folder: Path, model: Path, **env: str) -> Site:
    return Site(folder, {"ECHO_SLOTS": "2", "ECHO_MODEL": str(model)} | env)


def test_one_job_more_than_may_be_open_is_503(tmp_path: Path, talkative: Path) -> None:
    """With Retry-After; a replay still finds its job, and a cancelled job makes room."""
    own = site(tmp_path, talkative, MAX_QUEUED_JOBS="2")
    with own.server("broker"), own.http():
        key = {"Idempotency-Key": uuid.uuid4().hex}
        first, _ = own.post("/api/jobs", JOB, key), own.post("/api/jobs", JOB)
        full = own.post("/api/jobs", JOB)
        assert (full.status, full.headers["Retry-After"]) == (503, "10")
        assert full.headers["Content-Type"] == "application/problem+json"
        assert "2 jobs are open" in full.json["detail"]
        assert own.post("/api/cognitive/process", {"input_text": "Hello."}).status == 503
        assert own.post("/api/jobs", JOB, key).json["job_id"] == first.json["job_id"]
        own.request("DELETE", first.json["links"]["self"])
        assert own.post("/api/jobs", JOB).status == 202


def test_one_job_more_than_may_wait_for_a_membrane_is_429(tmp_path: Path, talkative: Path) -> None:
    """The field at fault is named, and jobs for other membranes are taken."""
    own = site(tmp_path, talkative, MAX_QUEUED_PER_MEMBRANE="1")
    with own.server("broker"), own.http():
        assert own.post("/api/jobs", JOB | {"membranes": ["memory"]}).status == 202
        full = own.post("/api/jobs", JOB | {"membranes": ["grammar", "memory"]})
        assert full.status == 429
        assert int(full.headers["Retry-After"]) == 10
        assert [error["field"] for error in full.json["errors"]] == ["membranes"]
        assert own.post("/api/jobs", JOB | {"membranes": ["grammar"]}).status == 202


@contextmanager
def broker_on_a_small_disk(own: Site) -> Iterator[Running]:
    """The farm's broker, which is told of a write past its limit as of a full disk, and not ended by it."""
    chosen = load(own.env)
    servers.folder("broker", chosen).mkdir(parents=True, exist_ok=True)
    command = [servers.program(chosen), *servers.arguments("broker", chosen)]
    with own.run("broker", "sh", "-c", 'trap \'\' XFSZ; exec "$0" "$@"', *command) as running:
        until(lambda: answers(own.broker_url), "the broker answers")
        yield running


def bound_files(broker: Running, most_bytes: int) -> None:
    """The longest that a file of the broker's may be from now on; -1: as long as it likes."""
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="files of another process are bounded on Linux alone")
def test_a_full_disk_is_503_and_costs_nothing_that_was_accepted(tmp_path: Path, talkative: Path) -> None:
    """New jobs are refused until there is room; then the running farm goes on, and every accepted job ends."""
    own = site(tmp_path, talkative)
    with own.server("store"), own.http() as api:
        with broker_on_a_small_disk(own) as broker, own.worker() as worker:
            accepted = [own.post("/api/jobs", JOB | {"options": {"max_tokens": 150}}).json["job_id"]]
            until(lambda: own.get(f"/api/jobs/{accepted[0]}").json["status"] == "running", "running")
            bound_files(broker, 64 * 1024)

            def is_refused() -> bool:
                answer = own.post("/api/jobs", JOB | {"membranes": ["grammar"], "input_text": "x" * 8000})
                if answer.status == 202:
                    accepted.append(answer.json["job_id"])
                return answer.status == 503

            until(is_refused, "the disk is full")
            refused = own.post("/api/jobs", JOB)
            assert refused.status == 503
            assert "disk" in refused.json["detail"]
            assert "reason=disk" in api.text()
            bound_files(broker, resource.RLIM_INFINITY)
            until(lambda: own.post("/api/jobs", JOB).status == 202, "jobs are accepted again")
            for job_id in accepted:
                assert own.ended(job_id)["status"] == "succeeded"
            assert "Traceback" not in api.text()
            assert worker.process.poll() is None, worker.text()
            until(
                lambda: redis.Redis.from_url(own.broker_url).info("persistence")["aof_pending_bio_fsync"] == 0, "sync"
            )
            broker.stop(signal.SIGKILL)
        with own.server("broker"):
            assert all(own.get(f"/api/jobs/{job_id}").json["status"] == "succeeded" for job_id in accepted)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="files of another process are bounded on Linux alone")
def test_a_broker_that_syncs_always_ends_on_a_full_disk_with_all_that_it_accepted(tmp_path: Path) -> None:
    """It must not answer what is not on the disk, and ends; its successor has every job that was answered with 202."""
    own = Site(tmp_path, {"BROKER_FSYNC": "always"})
    with own.http():
        with broker_on_a_small_disk(own) as broker:
            bound_files(broker, 64 * 1024)
            accepted = []
            while (answer := own.post("/api/jobs", JOB | {"input_text": "x" * 8000})).status == 202:
                accepted.append(answer.json["job_id"])
            assert answer.status == 503
            assert until(lambda: broker.process.poll(), "the broker ends") == 1
            assert "Can't recover from AOF write error" in broker.text()
        with own.server("broker"):
            until(lambda: own.post("/api/jobs", JOB).status == 202, "jobs are accepted again")
            assert accepted
            assert {own.get(f"/api/jobs/{job_id}").json["status"] for job_id in accepted} == {"queued"}


def test_a_read_only_broker_is_503_and_costs_nothing_that_was_accepted(tmp_path: Path, talkative: Path) -> None:
    """A broker that has become a replica is read; once it is a primary again the worker, still the same, goes on."""
    own = site(tmp_path, talkative)
    with own.server("broker"), own.server("store"), own.worker() as worker, own.http() as api:
        broker = redis.Redis.from_url(own.broker_url, decode_responses=True)
        job_id = own.post("/api/jobs", JOB | {"options": {"max_tokens": 150}}).json["job_id"]
        until(lambda: own.get(f"/api/jobs/{job_id}").json["status"] == "running", "running")
        broker.replicaof("127.0.0.1", free_port())
        for _ in range(3):
            refused = own.request("POST", "/api/jobs", JOB, timeout=2)
            assert refused.status == 503
            assert "takes no writes" in refused.json["detail"]
        assert own.get(f"/api/jobs/{job_id}").status == 200
        assert "read only" in own.get("/readyz").json["checks"]["broker"]["detail"]
        broker.replicaof("NO", "ONE")
        until(lambda: own.post("/api/jobs", JOB).status == 202, "jobs are accepted again")
        assert own.ended(job_id)["status"] == "succeeded"
        assert "reason=read-only" in api.text()
        assert "Traceback" not in api.text()
        assert psutil.Process(worker.process.pid).is_running(), worker.text()
        broker.close()
