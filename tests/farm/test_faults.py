"""Faults of servers and processes: clear words, nothing accepted is lost, recovery without help."""

from __future__ import annotations

import http.client
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import redis
import torch
from celery.concurrency import get_implementation
from processes import PYTHON, Running, Site, until

from echo_tasks.errors import EX_CONFIG, CheckpointError, exit_misconfigured
from echo_tasks.keys import STEPS
from echo_tasks.local import servers
from echo_tasks.settings import load
from workers import model
from workers.runtime import Runtime

pytestmark = pytest.mark.farm

JOB = {"input_text": "Hello.", "cache": False, "options": {"max_tokens": 2}}


NOBODY = "/api/jobs/" + "0" * 32


@pytest.fixture
def own(tmp_path: Path, talkative: Path) -> Site:
    """A site of this test's own."""
    return Site(tmp_path, {"ECHO_SLOTS": "2", "ECHO_MODEL": str(talkative)})


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Site]:
    """An API that outlives all brokers of this file: tests start the servers and the workers that they harm."""
    site = Site(tmp_path_factory.mktemp("standing"), {"ECHO_SLOTS": "2", "ECHO_MODEL": str(talkative)})
    with site.http():
        yield site


@contextmanager
def reached(site: Site) -> Iterator[Running]:
    """A broker, once the API has found it."""
    with site.server("broker") as broker:
        until(lambda: site.get(NOBODY).status == 404, "the API reaches the broker")
        yield broker


def accepts(site: Site) -> bool:
    """Whether a job is accepted; it is cancelled at once, so that no other test's worker finds it."""
    answer = site.post("/api/jobs", JOB)
    return answer.status == 202 and site.request("DELETE", answer.json["links"]["self"]).status == 200


def status(site: Site, job_id: str) -> str | None:
    """Of a job; None while the API cannot tell."""
    found: str | None = site.get(f"/api/jobs/{job_id}").json.get("status")
    return found


def all_end(site: Site, jobs: Sequence[str], within_s: float = 60) -> None:
    """Wait until the jobs have succeeded."""
    until(lambda: all(status(site, one) == "succeeded" for one in jobs), "the jobs end", within_s)


def test_a_broker_that_is_away_is_503_and_comes_back(standing: Site) -> None:
    """Refused connections: 503 with Retry-After within two seconds, and service again after a restart."""
    for method, path, body in (
        ("POST", "/api/jobs", JOB),
        ("GET", NOBODY, None),
        ("DELETE", NOBODY, None),
        ("POST", "/api/cognitive/process", {"input_text": "Hello."}),
    ):
        away = standing.request(method, path, body, timeout=2)
        assert away.status == 503, (path, away.body)
        assert int(away.headers["Retry-After"]) >= 1
        assert away.headers["Content-Type"] == "application/problem+json"
    assert standing.get("/livez").status == 200
    assert standing.get("/readyz").status == 503
    with standing.server("broker"):
        until(lambda: accepts(standing), "jobs are accepted again")
    assert standing.request("POST", "/api/jobs", JOB, timeout=2).status == 503
    with standing.server("broker"):
        until(lambda: accepts(standing), "and again")


def test_a_chunked_body_is_bounded_too(farm: Site) -> None:
    """A body that does not tell its length is refused at the same size; a small one is served."""

    def status(chunks: list[bytes]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", int(farm.env["API_PORT"]), timeout=30)
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        with closing(connection):
            connection.request("POST", "/api/jobs", iter(chunks), headers, encode_chunked=True)
            return connection.getresponse().status

    body = b'{"input_text": "Hello.", "options": {"max_tokens": 1}}'
    assert status([body[:20], body[20:]]) == 202
    assert status([body, *[b" " * 65536] * 15]) == 202
    assert status([body, *[b" " * 65536] * 16]) == 413


def test_a_broker_that_hangs_is_503_within_two_seconds(standing: Site) -> None:
    """A server that is frozen, so that connections open and nothing answers, does not hang the API."""
    with reached(standing) as broker:
        assert accepts(standing)
        broker.send(signal.SIGSTOP)
        for _ in range(3):
            assert standing.request("POST", "/api/jobs", JOB, timeout=2).status == 503
        broker.send(signal.SIGCONT)
        until(lambda: accepts(standing), "jobs are accepted again")


def test_accepted_jobs_outlive_the_worker_and_the_broker(standing: Site) -> None:
    """SIGTERM: the running step is recorded, the rest stays queued, the exit is clean, and the registry is left.

    That job and those that are accepted meanwhile are there after a SIGKILL of the broker, and a successor ends them.
    """
    with standing.server("store"):
        with reached(standing) as broker:
            with standing.worker(name="first") as first:
                begun = standing.post("/api/jobs", JOB | {"options": {"max_tokens": 60}}).json["job_id"]
                until(lambda: status(standing, begun) == "running", "running")
                assert first.stop() == 0, first.text()
                assert "first@test" not in nodes(standing)
            jobs = [begun, *(standing.post("/api/jobs", JOB).json["job_id"] for _ in range(5))]
            with redis.Redis.from_url(standing.broker_url) as client:
                until(lambda: client.info("persistence")["aof_pending_bio_fsync"] == 0, "synced")
            broker.stop(signal.SIGKILL)
        with reached(standing), standing.worker(name="second"):
            all_end(standing, jobs)
            assert standing.get(f"/api/jobs/{begun}").json["attempts"] == 1


def nodes(site: Site) -> dict[str, Any]:
    """The live workers by their names."""
    return {worker["node"]: worker for worker in site.get("/health").json["workers"]}


def test_a_worker_outlives_the_brokers_restart_and_its_death(standing: Site) -> None:
    """Idle or with messages in its hands it reconnects by itself: the farm is ready again, and its job ends once."""
    with ExitStack() as farm:
        farm.enter_context(standing.server("store"))
        broker = farm.enter_context(reached(standing))
        worker = farm.enter_context(standing.worker(name="steady"))
        broker.stop()
        broker = farm.enter_context(reached(standing))
        until(lambda: standing.get("/readyz").status == 200, "ready again")
        assert standing.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["status"] == "succeeded"

        job_id = standing.post("/api/jobs", JOB | {"options": {"max_tokens": 150}}).json["job_id"]
        until(lambda: status(standing, job_id) == "running", "running")
        broker.stop(signal.SIGKILL)
        farm.enter_context(reached(standing))
        all_end(standing, [job_id], 100)
        assert worker.process.poll() is None, worker.text()
        assert worker.text().count("Connection to broker lost") == 2
        for noise in ("Error on restarting", "DeprecationWarning"):
            assert noise not in worker.text()


def test_a_store_that_is_away_costs_the_cache_not_the_job(standing: Site) -> None:
    """Without the store the farm is not ready, but answers, and what it has answered is found on its disk."""
    with reached(standing), standing.worker(name="storeless"):
        body = {"input_text": "Hello without a store.", "processing_options": {"max_tokens": 2}}
        answers = [standing.post("/api/cognitive/process", body) for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 200]
        assert [answer.json["cache_tier"] for answer in answers] == [None, "l3"]
        assert standing.get("/readyz").json["checks"]["store"]["ok"] is False


def test_a_worker_can_be_narrowed_to_queues(standing: Site) -> None:
    """`-Q` consumes those queues alone, readiness names the rest, and a misspelt queue is an error."""
    with reached(standing), standing.server("store"):
        with standing.worker("-Q", "echo.memory,echo.integration", name="narrow"):
            worker = nodes(standing)["narrow@test"]
            assert worker["queues"] == ["echo.direct.narrow@test", "echo.integration", "echo.memory"]

            def is_named() -> bool:
                told: str = standing.get("/readyz").json["checks"]["workers"]["detail"]
                return "echo.reasoning, echo.grammar" in told

            until(is_named, "readiness names what nobody serves, once workers of other tests are forgotten")
            job = standing.post("/api/jobs", JOB | {"membranes": ["memory"]}, {"Prefer": "wait=60"})
            assert job.json["status"] == "succeeded"
        command = (PYTHON, "-m", "celery", "-A", "echo_tasks", "worker", "-Q", "echo.memroy")
        with standing.run("misspelt", *command) as misspelt:
            until(lambda: misspelt.process.poll() is not None, "it ends")
            assert "echo.memroy" in misspelt.text()


class Payload:
    """A pickle that would touch a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.marker,)


def spoilt(kind: str, talkative: Path, folder: Path) -> Path:
    path = folder / f"{kind}.pth"
    match kind:
        case "truncated":
            path.write_bytes(talkative.read_bytes()[: talkative.stat().st_size // 2])
        case "text":
            path.write_text("not a checkpoint\n")
        case "rwkv6":
            torch.save({"emb.weight": torch.zeros(8, 64), "blocks.0.att.time_maa_x": torch.zeros(64)}, path)
        case "foreign":
            torch.save({"model.embed_tokens.weight": torch.zeros(8, 64)}, path)
        case "pickle":
            torch.save({"emb.weight": Payload(folder / "executed")}, path)
    return path


@pytest.mark.parametrize("kind", ["missing", "truncated", "text", "rwkv6", "foreign", "pickle"])
def test_a_bad_checkpoint_is_told_of_in_one_line(
    tmp_path: Path, talkative: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It has the path and the reason, and nothing in the file is executed."""
    path = spoilt(kind, talkative, tmp_path)
    with pytest.raises(CheckpointError) as refused:
        model.load(load({"ECHO_MODEL": str(path)}), 2)
    with pytest.raises(SystemExit) as ended:
        exit_misconfigured(refused.value)
    assert ended.value.code == EX_CONFIG
    out, errors = capfd.readouterr()
    assert (out, len(errors.splitlines())) == ("", 1)
    assert errors.startswith(f"echo: model {path}: ")
    assert not (tmp_path / "executed").exists()


def test_a_bad_checkpoint_ends_the_worker(own: Site, talkative: Path) -> None:
    """Status 78, that one line, no traceback, and nothing in the file is executed."""
    path = spoilt("pickle", talkative, own.folder)
    command = (PYTHON, "-m", "celery", "-A", "echo_tasks", "worker")
    with own.run("worker", *command, env={"ECHO_MODEL": str(path)}) as worker:
        assert until(lambda: worker.process.poll(), "the worker ends") == 78
        lines = [line for line in worker.text().splitlines() if line.startswith("echo: ")]
        assert len(lines) == 1
        assert lines[0].startswith(f"echo: model {path}: ")
        assert "Traceback" not in worker.text()
    assert not (own.folder / "executed").exists()


_DYING = """
import sys
from celery.__main__ import main
from workers.rwkv7 import RWKV7
def broken(*_): raise TypeError("the engine's own fault")
RWKV7.forward = broken
sys.argv = ["celery", "-A", "echo_tasks", "worker", "-n", "dying@test"]
main()
"""


def test_a_worker_whose_engine_died_ends_and_its_jobs_go_elsewhere(standing: Site) -> None:
    """A fault that ends the engine's thread ends the worker with status 70; a healthy one ends the job."""
    with reached(standing), standing.server("store"):
        job_id = standing.post("/api/jobs", JOB).json["job_id"]
        with standing.run("dying", PYTHON, "-c", _DYING) as dying:
            assert until(lambda: dying.process.poll(), "the worker ends") == 70, dying.text()
        assert status(standing, job_id) == "running"
        with standing.worker(name="healthy"):
            all_end(standing, [job_id])


def test_a_pool_of_processes_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    """The engine lives in one process, with a pool of its own: another ends the worker and says what to do."""
    with pytest.raises(SystemExit) as ended:
        Runtime(SimpleNamespace(pool_cls=get_implementation("solo")))
    assert ended.value.code == EX_CONFIG
    assert "leave -P out" in capfd.readouterr().err


def test_a_taken_port_is_named(own: Site) -> None:
    """A server whose port is taken says which, and which setting moves it."""
    with own.server("broker"), own.run("second", PYTHON, "-m", "echo_tasks.local.servers", "broker") as second:
        assert until(lambda: second.process.poll(), "it ends") == 78
        assert f"port {own.env['BROKER_PORT']} is taken; set BROKER_PORT" in second.text()


def test_the_servers_keep_their_promises(own: Site) -> None:
    """Broker: append-only, never evicts. Store: bounded, evicts, writes nothing. Both on loopback alone."""
    with own.server("broker"), own.server("store"):
        broker = redis.Redis.from_url(own.broker_url, decode_responses=True)
        store = redis.Redis.from_url(own.store_url, decode_responses=True)
        assert broker.config_get("appendonly")["appendonly"] == "yes"
        assert broker.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert store.config_get("appendonly")["appendonly"] == "no"
        assert store.config_get("maxmemory")["maxmemory"] == str(512 * 1024 * 1024)
        assert store.config_get("maxmemory-policy")["maxmemory-policy"] == "allkeys-lru"
        assert {client.config_get("bind")["bind"] for client in (broker, store)} == {"127.0.0.1"}
        broker.close()
        store.close()


def test_the_broker_syncs_and_grows_as_it_is_told(own: Site) -> None:
    """By default it syncs once a second, within a quarter of the machine's memory; settings move both."""
    own.env |= {"BROKER_FSYNC": "always", "BROKER_MEMORY_MB": "64"}
    with own.server("broker"):
        broker = redis.Redis.from_url(own.broker_url, decode_responses=True)
        assert broker.config_get("appendfsync")["appendfsync"] == "always"
        assert broker.config_get("maxmemory")["maxmemory"] == str(64 * 1024 * 1024)
        broker.close()
    unset = servers.arguments("broker", load({}))
    assert unset[unset.index("--appendfsync") + 1] == "everysec"
    assert (
        0 < int(unset[unset.index("--maxmemory") + 1].removesuffix("mb")) * 2**20 <= psutil.virtual_memory().total // 4
    )


def test_a_server_elsewhere_leaves_its_process_idle(own: Site) -> None:
    """With BROKER_URL set the broker's process starts no server, hides the password, and waits to be ended."""
    elsewhere = {"BROKER_URL": f"redis://:hush@127.0.0.1:{own.env['BROKER_PORT']}/0"}
    with own.run("idle", PYTHON, "-m", "echo_tasks.local.servers", "broker", env=elsewhere) as idle:
        until(lambda: "runs elsewhere" in idle.text(), "it says so")
        assert "hush" not in idle.text()
        assert idle.process.poll() is None
        assert idle.stop() == -signal.SIGTERM


@pytest.fixture
def flower(farm: Site) -> Iterator[Site]:
    """Flower beside the shared farm, its API open."""
    command = (PYTHON, "-m", "celery", "-A", "echo_tasks", "flower")
    with farm.supervised("flower", *command, env={"FLOWER_UNAUTHENTICATED_API": "true"}):
        until(lambda: _flower(farm, "/healthcheck") is not None, "Flower answers")
        yield farm


def _flower(site: Site, path: str) -> object:
    other = Site(site.folder, {"API_PORT": site.env["FLOWER_PORT"]})
    answer = other.get(path)
    if answer.status != 200:
        return None
    return answer.json if path.startswith("/api") else answer.body


def test_flower_shows_the_worker_and_the_four_tasks(flower: Site) -> None:
    """After a job, Flower's own API lists the worker and a finished task of every kind."""

    def finished() -> set[str]:
        tasks = _flower(flower, "/api/tasks")
        assert isinstance(tasks, dict)
        return {task["name"] for task in tasks.values() if task["state"] == "SUCCESS"}

    def seen() -> bool:
        flower.post("/api/jobs", JOB, {"Prefer": "wait=30"})
        return finished() >= {f"echo.{step}" for step in STEPS}

    until(seen, "Flower has seen all four tasks succeed")
    workers = _flower(flower, "/api/workers?refresh=1")
    assert isinstance(workers, dict)
    assert "worker@test" in workers
