"""Two APIs behind the edge, of which one dies; and who their client is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from asking import ask, problem
from processes import Running, Site, free_port, until

from bench import edge
from bench.edge import Edge

pytestmark = pytest.mark.farm


@contextmanager
def two(folder: Path, site: Site) -> Iterator[tuple[Edge, list[Running]]]:
    """An edge before two APIs of one broker, and those."""
    ports = [free_port(), free_port()]
    urls = {"BROKER_URL": site.broker_url, "CACHE_URL": site.store_url, "MAX_CONCURRENT_SESSIONS": "10000"}
    sites = [Site(folder, urls | {"API_PORT": str(port)}) for port in ports]
    with sites[0].http() as first, sites[1].http() as second, edge.before(ports, {}) as front:
        yield front, [first, second]


def killed(api: Running) -> None:
    """SIGKILL of gunicorn's master and its worker, until both are gone: nobody says good-bye."""
    master = psutil.Process(api.process.pid)
    family = [master, *master.children()]
    master.suspend()  # so that it starts no other
    for process in reversed(family):
        process.kill()
    api.process.wait()
    psutil.wait_procs(family)


def test_a_dead_api_is_passed_over(tmp_path: Path, site: Site, broker_url: str, store_url: str) -> None:
    """Every request is answered, and a job that is submitted again under its key is one job."""
    with two(tmp_path, site) as (front, apis):
        path = ask(front, "POST", "/api/jobs", {"input_text": "a"}).json["links"]["self"]
        until(lambda: ask(front, "GET", path) and len(used(front)) > 1, "both are asked")
        killed(apis[0])
        assert {ask(front, "GET", path).status for _ in range(40)} == {200}
        keyed = [ask(front, "POST", "/api/jobs", {"input_text": "b"}, {"Idempotency-Key": "edge-1"}) for _ in range(40)]
        assert {answer.status for answer in keyed} == {202}
        assert len({answer.json["job_id"] for answer in keyed}) == 1
        killed(apis[1])
        away = ask(front, "POST", "/api/jobs", {"input_text": "c"})
        assert "nothing was done" in problem(away, 503)
        assert away.headers["Retry-After"] == "2"
        ask(front, "DELETE", path)


def used(front: Edge) -> set[str]:
    """The APIs that the log names."""
    lines = [json.loads(line) for line in front.log.read_text().splitlines() if line.startswith("{")]
    return {line["api"] for line in lines if line["api"]}


@pytest.mark.parametrize(("trusted", "seen"), [("127.0.0.1/32", "127.0.0.9"), ("", "127.0.0.1")])
def test_the_api_knows_who_its_client_is(
    tmp_path: Path, broker_url: str, store_url: str, trusted: str, seen: str
) -> None:
    """By the edge's word, if it takes that at all; not by that of the client, by whichever way it comes."""
    urls = {"BROKER_URL": broker_url, "CACHE_URL": store_url, "TRUSTED_PROXIES": trusted}
    site = Site(tmp_path, urls | {"GUNICORN_CMD_ARGS": "--access-logfile -"})
    forged = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1", "X-Real-IP": "192.0.2.1"}
    with site.http() as api, edge.before([int(site.env["API_PORT"])], {}) as front:
        assert ask(front, "GET", "/api/jobs/by-edge", headers=forged, source="127.0.0.9").status == 404
        told = until(lambda: [line for line in api.text().splitlines() if "/by-edge" in line], "it is logged", 10)
    assert f" {seen} " in told[0]
    assert "192.0.2.1" not in told[0]
