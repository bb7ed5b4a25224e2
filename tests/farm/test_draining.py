"""A worker that drains: nothing it runs is stopped, nothing it had waiting is lost, and it ends with status 0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from processes import Site, until

from echo_tasks import keys

pytestmark = [pytest.mark.farm, pytest.mark.timeout(240)]

UNHURRIED = ("-I", "tests.farm.unhurried")
"""A worker whose steps last for 50 ms a token."""

SERVICE = "/api/services/cognitive-service/instances"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Site]:
    """Servers and API; workers give running steps no grace."""
    env = {
        "ECHO_MODEL": str(talkative),
        "ECHO_SLOTS": "2",
        "ECHO_GRACE_S": "0",
        "ENABLE_CACHING": "false",
    }
    site = Site(tmp_path_factory.mktemp("draining"), env | {"LB_STRATEGY": "least_connections"})
    with site.server("broker"), site.server("store"), site.http():
        yield site


@pytest.fixture
def broker(own: Site) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own.broker_url, decode_responses=True) as client:
        yield client


def submit(site: Site, max_tokens: int) -> str:
    body = {
        "input_text": "Hello.",
        "membranes": ["memory"],
        "options": {"max_tokens": max_tokens, "temperature": 0},
        "cache": False,
    }
    return str(site.post("/api/jobs", body).json["job_id"])


def instances(site: Site) -> dict[str, dict[str, Any]]:
    """What the API tells of the workers, by their nodes."""
    return {one["id"]: one for one in site.get(SERVICE).json["instances"]}


def test_a_drained_worker_finishes_what_it_runs_and_ends(own: Site, broker: redis.Redis) -> None:
    """Twice as many jobs as it has slots, a drain, another worker: all are answered, each step was run once."""
    with own.worker(*UNHURRIED, name="first") as first:
        until(lambda: own.get("/readyz").status == 200, "the farm is ready")
        jobs = [submit(own, 120) for _ in range(4)]
        until(lambda: instances(own)["first@test"]["busy"] == 2, "it is busy")
        node = f"{SERVICE}/first@test"
        assert own.request("DELETE", node).json["status"] == "draining"
        assert instances(own)["first@test"]["status"] == "draining"
        until(lambda: "worker drains" in first.text(), "it has heard")
        held = {job_id for job_id in jobs if broker.hget(keys.job(job_id), "lease:memory")}
        assert held, "the jobs are too short"
        with own.worker(name="second"):
            assert first.process.wait(120) == 0, first.text()
            assert [own.ended(job_id)["status"] for job_id in jobs] == ["succeeded"] * 4
            assert [broker.hget(keys.job(job_id), "deliveries:memory") for job_id in jobs] == ["1"] * 4
            assert {broker.hget(keys.job(job_id), "node:memory") for job_id in held} == {"first@test"}
            assert list(instances(own)) == ["second@test"]
        assert "worker is drained" in first.text()
    assert not broker.exists(keys.drain("first@test"))
    assert own.request("DELETE", node).status == 404


def test_a_drain_outlives_the_broker(own: Site, broker: redis.Redis) -> None:
    """The worker connects anew and still takes nothing: what waits stays for others."""
    with own.worker(*UNHURRIED, name="first") as first:
        running = submit(own, 200)
        until(lambda: broker.hget(keys.job(running), "node:memory") == "first@test", "it runs")
        own.request("DELETE", f"{SERVICE}/first@test")
        until(lambda: "worker drains" in first.text(), "it has heard")
        connected = first.text().count("Connected to redis")
        broker.client_kill_filter(_type="normal", skipme=True)
        until(lambda: first.text().count("Connected to redis") > connected, "it is connected again")
        waiting = submit(own, 4)
        with own.worker(name="second"):
            assert own.ended(waiting)["status"] == "succeeded"
            assert broker.hget(keys.job(waiting), "node:memory") == "second@test"
            assert own.ended(running)["status"] == "succeeded"
            assert first.process.wait(60) == 0, first.text()
