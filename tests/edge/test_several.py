"""Two APIs behind the edge, of which one dies; and which address an API takes for its client's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import psutil
import pytest
from asking import ACCESS_LOG, Open, ask, problem
from processes import Running, Site, until

from bench import edge
from bench.edge import Edge

pytestmark = pytest.mark.farm

FORGED = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1", "X-Real-IP": "192.0.2.1"}


@dataclass
class Mortal:
    """An API of the shared farm that may be killed; it trusts what the edge says of its clients."""

    site: Site
    stack: ExitStack
    api: Running | None = field(default=None)

    @property
    def port(self) -> int:
        return int(self.site.env["API_PORT"])

    def start(self) -> None:
        """Start it unless it lives."""
        if self.api is None or self.api.process.poll() is not None:
            self.api = self.stack.enter_context(self.site.http())

    def kill(self) -> None:
        """SIGKILL of gunicorn's master and its worker; returns when both are gone."""
        assert self.api is not None
        master = psutil.Process(self.api.process.pid)
        family = [master, *master.children()]
        master.suspend()  # so that it starts no other
        for process in reversed(family):
            process.kill()
        self.api.process.wait()
        psutil.wait_procs(family)


@pytest.fixture(scope="module")
def another(farm: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    """The one such API of these tests, not started."""
    urls = {"BROKER_URL": farm.broker_url, "CACHE_URL": farm.store_url, "MAX_CONCURRENT_SESSIONS": "10000"}
    with ExitStack() as stack:
        own = Site(tmp_path_factory.mktemp("mortal"), urls | ACCESS_LOG | {"TRUSTED_PROXIES": "127.0.0.1/32"})
        yield Mortal(own, stack)


@pytest.fixture
def mortal(another: Mortal) -> Mortal:
    """It, alive."""
    another.start()
    return another


def used(front: Edge) -> set[str]:
    """The APIs that the log names."""
    lines = [json.loads(line) for line in front.log.read_text().splitlines() if line.startswith("{")]
    return {line["api"] for line in lines if line["api"]}


def client_logged(front: Edge, api: Running, path: str) -> str:
    """The client of a request with forged headers from 127.0.0.9, as in the API's access log."""
    assert ask(front, "GET", path, headers=FORGED, source="127.0.0.9").status == 404
    told = until(lambda: [line for line in api.text().splitlines() if path in line], "it is logged", 10)
    assert "192.0.2.1" not in told[0]
    return next(address for address in ("127.0.0.9", "127.0.0.1") if f" {address} " in told[0])


def test_an_api_that_trusts_the_edge_knows_its_client(mortal: Mortal) -> None:
    """By the edge's word, and by nothing that the client says of itself."""
    assert mortal.api is not None
    with edge.before([mortal.port], {}) as front:
        assert client_logged(front, mortal.api, "/api/jobs/by-trusted-edge") == "127.0.0.9"


def test_an_api_that_trusts_no_proxy_knows_the_edge_alone(without_keys: Open) -> None:
    """What the edge says of a client is ignored as well."""
    assert client_logged(without_keys.front, without_keys.api, "/api/jobs/by-edge") == "127.0.0.1"


def test_a_dead_api_is_passed_over(farm: Site, mortal: Mortal) -> None:
    """Every request is answered, and a job that is submitted again under its key is one job."""
    job = {"input_text": "a", "options": {"max_tokens": 1}}
    with edge.before([mortal.port, int(farm.env["API_PORT"])], {}) as front:
        path = ask(front, "POST", "/api/jobs", job).json["links"]["self"]
        until(lambda: ask(front, "GET", path) and len(used(front)) > 1, "both are asked")
        mortal.kill()
        assert {ask(front, "GET", path).status for _ in range(40)} == {200}
        keyed = [ask(front, "POST", "/api/jobs", job, {"Idempotency-Key": "edge-1"}) for _ in range(40)]
        assert {answer.status for answer in keyed} <= {200, 202}  # 200: it has ended meanwhile
        assert len({answer.json["job_id"] for answer in keyed}) == 1


def test_where_all_apis_are_dead_the_edge_says_so() -> None:
    """503 as a problem that says when to return, and that nothing was done."""
    with edge.before([1, 2], {}) as front:
        away = ask(front, "POST", "/api/jobs", {"input_text": "c"})
        assert "nothing was done" in problem(away, 503)
        assert away.headers["Retry-After"] == "2"
