"""Partitions between hosts: what is cut off is done elsewhere, and what comes back does nothing twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import hosts
import pytest
import redis
from crowd import SCRIPTS, crowd
from hosts import Host, HostSite
from processes import Answer, Running, until
from verdict import Answers, judge, open_jobs, table

from echo_tasks import connections, keys
from echo_tasks.local import servers
from echo_tasks.settings import load

pytestmark = [pytest.mark.farm, pytest.mark.timeout(400), hosts.needed]

PLAN = {"data": ("f", "b"), "api": ("f",), "one": ("b",), "two": ("b",)}
"""The API reaches broker and store by the network `f`, workers by `b`: each is cut off by itself."""

SECRET = "between-hosts"  # noqa: S105 - of a broker that lives as long as the test
CLIENTS = (0, 2)
PATIENCE_S = 150

ELSEWHERE_S = 18
"""After so long what a dead or silent worker held is elsewhere, as the README has it."""

RECOVERED_S = 30


@dataclass
class Farm:
    """A farm on four hosts, and its broker as the test sees it: by the workers' network."""

    hosts: dict[str, Host]
    api: HostSite
    workers: dict[str, Running]
    broker: redis.Redis
    answers: Answers


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """Broker and store on one host, the API on another, a worker on each of two more."""
    with hosts.hosts(PLAN) as made, ExitStack() as running:

        def site(host: str, network: str, **env: str) -> HostSite:
            data = f"redis://:{SECRET}@{made['data'].cables[network].address}"
            urls = {"BROKER_URL": f"{data}:6379/0", "CACHE_URL": f"{data}:6380/0", "API_KEYS": "off"}
            more = {"ECHO_SLOTS": "4", "ECHO_THREADS": "1", "REQUESTS_PER_MINUTE": "0"}
            seen_at = f"redis://:{SECRET}@{made['data'].cables['b'].address}:6379/0"
            return made[host].site(tmp_path_factory.mktemp(host), urls | more | env, seen_at)

        data = made["data"].site(tmp_path_factory.mktemp("data"), {"BROKER_PORT": "6379", "STORE_PORT": "6380"}, "")
        for role in servers.ROLES:
            running.enter_context(_server(data, role))
        api = site("api", "f", API_HOST=made["api"].cables["f"].address, API_PORT="8000")
        broker = running.enter_context(connections.impatient(api.broker_url))
        until(lambda: _answers(broker), "the broker answers")
        workers = {name: running.enter_context(site(name, "b").worker(name=name)) for name in ("one", "two")}
        running.enter_context(api.http())
        with crowd(api, CLIENTS, PATIENCE_S) as asked:
            pass
        yield Farm(made, api, workers, broker, {(one.script, one.place): one.answer or "" for one in asked})


def _server(data: HostSite, role: str) -> AbstractContextManager[Running]:
    """The farm's own server with its own settings, but for other hosts, who show a password."""
    chosen = load(data.env)
    servers.folder(role, chosen).mkdir(parents=True)
    open_to_others = ("--bind", "0.0.0.0", "--requirepass", SECRET)
    return data.run(role, servers.program(chosen), *servers.arguments(role, chosen), *open_to_others)


def _answers(broker: redis.Redis) -> bool:
    try:
        return bool(broker.ping())
    except redis.RedisError:
        return False


def leased_by(farm: Farm, node: str) -> set[str]:
    """The steps that a worker holds, by the ledger."""
    members = [member.rpartition(".") for member in farm.broker.zrange(keys.LEASES, 0, -1)]
    return {f"{job}.{step}" for job, _, step in members if farm.broker.hget(keys.job(job), f"node:{step}") == node}


def cut_off_mid_job(farm: Farm, name: str) -> set[str]:
    """Cut a worker's host off while it holds steps, and return these; once more where they got through before."""
    cable = farm.hosts[name].cables["b"]
    for _ in range(20):
        until(lambda: leased_by(farm, f"{name}@test"), f"{name} holds a step")
        cable.cut()
        time.sleep(0.5)
        if held := leased_by(farm, f"{name}@test"):
            return held
        cable.mend()
    raise AssertionError(f"{name} was never cut off in a step")


def test_a_worker_host_that_is_cut_off_costs_time_alone(farm: Farm) -> None:
    """Its steps end elsewhere within the bounds; healed, its late writes are refused, and it serves again."""
    lost, name = farm.workers["one"], "one@test"
    with crowd(farm.api, CLIENTS, PATIENCE_S, pause_s=0.3) as asked:
        held, said = cut_off_mid_job(farm, "one"), len(lost.text())
        struck = time.monotonic()
        until(lambda: not leased_by(farm, name), "its leases are over", ELSEWHERE_S)
        jobs = {member.rpartition(".")[0] for member in held}
        until(lambda: not jobs & open_jobs(farm.broker), "its jobs have ended elsewhere", ELSEWHERE_S)
        elsewhere_s = time.monotonic() - struck
        until(lambda: not farm.broker.exists(keys.worker(name)), "it is no live worker any more")
        farm.hosts["one"].cables["b"].mend()
        healed = time.monotonic()
        until(lambda: farm.broker.exists(keys.worker(name)), "it is heard again")
        until(lambda: leased_by(farm, name), "it serves again")
        serves_s = time.monotonic() - healed
    verdict = judge("worker cut off", asked, farm.answers, [struck], farm.broker)
    print(table([verdict]), f"ended elsewhere after {elsewhere_s:.1f} s; served again {serves_s:.1f} s after healing")
    assert not verdict.problems, "\n".join(verdict.problems)
    assert elsewhere_s < ELSEWHERE_S
    late = [f"[{member}] ignored " for member in held]  # by a renewal that is refused, or by its record
    until(lambda: any(word in lost.text()[said:] for word in late), "a late write is refused")


def test_an_api_that_is_cut_off_from_its_broker_says_so_and_recovers(farm: Farm) -> None:
    """503 within two seconds, on a busy machine within ten; jobs that were accepted end, and once.

    What was refused, and is submitted again under its key, is one job.
    """
    front = farm.hosts["data"].cables["f"]
    body = {"input_text": SCRIPTS[2][0], "membranes": ["grammar"], "cache": False}
    key = {"Idempotency-Key": "cut off"}  # TCP may deliver what was refused after the network has healed
    with crowd(farm.api, CLIENTS, PATIENCE_S, pause_s=0.3) as asked:
        until(lambda: open_jobs(farm.broker), "jobs are open")
        front.cut()
        struck, waits = time.monotonic(), []
        while time.monotonic() < struck + 6:
            began = time.monotonic()
            refused = farm.api.request("POST", "/api/jobs", body, key, timeout=20)
            waits.append(time.monotonic() - began)
            assert (refused.status, "Retry-After" in refused.headers) == (503, True), refused
        front.mend()
        healed = time.monotonic()

        def submitted() -> Answer | None:
            answer = farm.api.post("/api/jobs", body, key)
            return answer if answer.status in {200, 202} else None

        accepted = until(submitted, "recovery", RECOVERED_S)
        recovered_s = time.monotonic() - healed
        assert farm.api.ended(accepted.json["job_id"])["status"] == "succeeded"
    verdict = judge("API cut off", asked, farm.answers, [struck, healed], farm.broker)
    print(table([verdict]), f"503 after {max(waits):.2f} s at most; recovered {recovered_s:.1f} s after healing")
    assert not verdict.problems, "\n".join(verdict.problems)
    assert min(waits) < 2
    assert max(waits) < 10
