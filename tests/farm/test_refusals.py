"""A farm that is full, and a broker that takes no writes: clear words, no storms, nothing accepted is lost."""

from __future__ import annotations

import resource
import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from flask.testing import FlaskClient
from processes import Running, Site, answers, free_port, until

from echo_api import create_app
from echo_tasks import connections
from echo_tasks.local import servers
from echo_tasks.settings import load

pytestmark = pytest.mark.farm

JOB = {"input_text": "Hello.", "cache": False, "options": {"max_tokens": 2}}


@pytest.fixture
def bounded(broker_url: str) -> FlaskClient:
    """The API over a database of this file's: three jobs may be open, and two wait for each membrane."""
    own = broker_url.removesuffix("/0") + "/12"
    with connections.impatient(own) as broker:
        broker.flushdb()
    settings = {"BROKER_URL": own, "MAX_QUEUED_JOBS": "3", "MAX_QUEUED_PER_MEMBRANE": "2"}
    return create_app(load(settings)).test_client()


def test_one_job_more_than_may_be_open_is_503(bounded: FlaskClient) -> None:
    """With Retry-After; a replay still finds its job, and a cancelled job makes room."""
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = JOB | {"membranes": ["memory"]}
    first, again = bounded.post("/api/jobs", json=body, headers=key), bounded.post("/api/jobs", json=body)
    assert (first.status_code, again.status_code) == (202, 202)
    assert bounded.post("/api/jobs", json=JOB | {"membranes": ["grammar"]}).status_code == 202
    full = bounded.post("/api/jobs", json=JOB)
    assert (full.status_code, full.headers["Retry-After"]) == (503, "10")
    assert full.content_type == "application/problem+json"
    assert "3 jobs are open" in full.get_json(force=True)["detail"]
    assert bounded.post("/api/cognitive/process", json={"input_text": "Hello."}).status_code == 503
    assert bounded.post("/api/jobs", json=body, headers=key).json["job_id"] == first.json["job_id"]
    bounded.delete(first.json["links"]["self"])
    assert bounded.post("/api/jobs", json=body).status_code == 202


def test_one_job_more_than_may_wait_for_a_membrane_is_429(bounded: FlaskClient) -> None:
    """The field at fault is named, and jobs for other membranes are taken."""
    for _ in range(2):
        assert bounded.post("/api/jobs", json=JOB | {"membranes": ["memory"]}).status_code == 202
    full = bounded.post("/api/jobs", json=JOB | {"membranes": ["grammar", "memory"]})
    assert full.status_code == 429
    assert int(full.headers["Retry-After"]) == 10
    assert [error["field"] for error in full.get_json(force=True)["errors"]] == ["membranes"]
    assert bounded.post("/api/jobs", json=JOB | {"membranes": ["grammar"]}).status_code == 202


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


@dataclass
class Struck:
    """A farm whose broker is bounded, killed, or made a replica by one test after the other."""

    site: Site
    broker: Running
    worker: Running
    api: Running
    stack: ExitStack
    """What ends them all."""

    def status(self, job_id: str) -> str:
        found: str = self.site.get(f"/api/jobs/{job_id}").json["status"]
        return found

    def runs_on(self) -> str:
        """The id of a job that is in the worker's hands."""
        job_id: str = self.site.post("/api/jobs", JOB | {"options": {"max_tokens": 100}}).json["job_id"]
        until(lambda: self.status(job_id) == "running", "running")
        return job_id


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Struck]:
    """The farm, from its start to its end."""
    own = Site(tmp_path_factory.mktemp("struck"), {"ECHO_SLOTS": "2", "ECHO_MODEL": str(talkative)})
    with ExitStack() as stack:
        stack.enter_context(own.server("store"))
        api = stack.enter_context(own.http())
        broker = stack.enter_context(broker_on_a_small_disk(own))
        yield Struck(own, broker, stack.enter_context(own.worker()), api, stack)


@pytest.fixture
def struck(running: Struck) -> Struck:
    """The farm with a broker that lives, whatever the test before has done to it."""
    if running.broker.process.poll() is not None:
        running.broker = running.stack.enter_context(broker_on_a_small_disk(running.site))
    until(lambda: running.site.get("/readyz").status == 200, "the farm is ready")
    return running


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="files of another process are bounded on Linux alone")
def test_a_full_disk_is_503_and_costs_nothing_that_was_accepted(struck: Struck) -> None:
    """New jobs are refused until there is room; then the running farm goes on, and every accepted job ends."""
    own, api = struck.site, struck.api
    accepted = [struck.runs_on()]
    bound_files(struck.broker, 64 * 1024)

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
    bound_files(struck.broker, resource.RLIM_INFINITY)
    until(lambda: own.post("/api/jobs", JOB).status == 202, "jobs are accepted again")
    for job_id in accepted:
        assert own.ended(job_id)["status"] == "succeeded"
    assert "Traceback" not in api.text()
    assert struck.worker.process.poll() is None, struck.worker.text()
    with redis.Redis.from_url(own.broker_url) as client:
        until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, "sync")
    struck.broker.stop(signal.SIGKILL)
    with own.server("broker"):
        until(lambda: own.get(f"/api/jobs/{accepted[0]}").status == 200, "the API reaches the broker")
        assert all(struck.status(job_id) == "succeeded" for job_id in accepted)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="files of another process are bounded on Linux alone")
def test_a_broker_that_syncs_always_ends_on_a_full_disk_with_all_that_it_accepted(tmp_path: Path) -> None:
    """It must not answer what is not on the disk, and ends; its successor has every job that was answered with 202."""
    own = Site(tmp_path, {"BROKER_FSYNC": "always"})
    api = create_app(load({"BROKER_URL": own.broker_url, "ECHO_VAR": own.env["ECHO_VAR"]})).test_client()
    with broker_on_a_small_disk(own) as broker:
        bound_files(broker, 64 * 1024)
        accepted = []
        while (answer := api.post("/api/jobs", json=JOB | {"input_text": "x" * 8000})).status_code == 202:
            accepted.append(answer.json["job_id"])
        assert answer.status_code == 503
        assert until(lambda: broker.process.poll(), "the broker ends") == 1
        assert "Can't recover from AOF write error" in broker.text()
    with own.server("broker"):
        until(lambda: api.post("/api/jobs", json=JOB).status_code == 202, "jobs are accepted again")
        assert accepted
        assert {api.get(f"/api/jobs/{job_id}").json["status"] for job_id in accepted} == {"queued"}


def test_a_read_only_broker_is_503_and_costs_nothing_that_was_accepted(struck: Struck) -> None:
    """A broker that has become a replica is read; once it is a primary again the worker, still the same, goes on."""
    own, api = struck.site, struck.api
    with redis.Redis.from_url(own.broker_url, decode_responses=True) as broker:
        job_id = struck.runs_on()
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
    assert struck.worker.process.poll() is None, struck.worker.text()
