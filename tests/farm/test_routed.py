"""Steps that are sent to workers' own queues: whoever dies, no job waits for him; and sessions find their states."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from processes import Running, Site, until

from echo_tasks import keys
from echo_tasks.routing import MOST_OF_MEAN, STRATEGIES

pytestmark = [pytest.mark.farm, pytest.mark.timeout(300)]

NODES = ("a@test", "b@test")


@dataclass
class Routed:
    """A whole farm, whose two workers come back for the next test when one has killed them."""

    site: Site
    broker: redis.Redis
    stack: ExitStack
    workers: dict[str, Running] = field(default_factory=dict)

    def man(self) -> None:
        """Start the workers that are not there, and wait until the farm knows them."""
        for node in NODES:
            if node not in self.workers or self.workers[node].process.poll() is not None:
                name = node.partition("@")[0]
                self.workers[node] = self.stack.enter_context(self.site.worker(name=name))

        def known() -> bool:
            return {worker["node"] for worker in self.site.get("/health").json["workers"]} == set(NODES)

        until(known, "both workers are known")


@contextmanager
def routed(folder: Path, model: Path, strategy: str) -> Iterator[Routed]:
    """The farm, without its workers."""
    env = {"ECHO_MODEL": str(model), "ECHO_SLOTS": "32", "ECHO_GRACE_S": "0", "LB_STRATEGY": strategy}
    site = Site(folder, env | {"MAX_CONCURRENT_SESSIONS": "1000"})
    with ExitStack() as stack:
        for server in (site.server("broker"), site.server("store"), site.http()):
            stack.enter_context(server)
        broker = stack.enter_context(redis.Redis.from_url(site.broker_url, decode_responses=True))
        yield Routed(site, broker, stack)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Routed]:
    with routed(tmp_path_factory.mktemp("affinity"), talkative, "affinity") as farm:
        yield farm


@pytest.fixture
def affinity(running: Routed) -> Routed:
    """A farm that sends sessions where they were."""
    running.man()
    return running


def submit(site: Site, session_id: str, max_tokens: int) -> str:
    body = {
        "input_text": "Tell me a story.",
        "session_id": session_id,
        "membranes": ["memory"],
        "options": {"max_tokens": max_tokens, "temperature": 0},
        "cache": False,
    }
    return str(site.post("/api/jobs", body).json["job_id"])


SESSIONS, TURNS, THINKS_S = 32, 4, 0.2
WARM = {"l1", "engine"}


def test_sessions_find_their_states_where_they_are_sent(affinity: Routed) -> None:
    """Most follow-up turns go on from a state in their worker's own memory, and no worker has more than its share."""
    with ThreadPoolExecutor(16) as clients:
        sessions = list(clients.map(lambda number: talk(affinity.site, f"session{number}"), range(SESSIONS)))
    told = [turn for turns in sessions for turn in turns]
    follow_ups = [turn for turn in told if turn["number"] > 0]
    warm = [turn for turn in follow_ups if turn["state_tier"] in WARM and turn["state_tokens"] > turn["past"]]
    served = Counter(turn["node"] for turn in told)
    most = max(served.values()) / (len(told) / len(NODES))
    tiers = dict(Counter(turn["state_tier"] for turn in follow_ups))
    print(f"{len(warm) / len(follow_ups):.1%} warm of those that follow another, found in {tiers};")
    print(f"the busiest worker has {most:.2f} times the mean")
    assert len(warm) >= 0.9 * len(follow_ups)
    assert most <= MOST_OF_MEAN


def test_no_job_waits_for_a_killed_worker(affinity: Routed) -> None:
    """What was sent to it, begun or not, is another's soon; nothing is lost."""
    check_nothing_waits(affinity)


@pytest.mark.long  # the workers' deaths are the same, whoever has chosen the worker
@pytest.mark.parametrize("strategy", sorted({*STRATEGIES} - {"affinity"}))
def test_no_job_waits_for_a_killed_worker_by_any_strategy(tmp_path: Path, talkative: Path, strategy: str) -> None:
    """As above, by the other strategies."""
    with routed(tmp_path, talkative, strategy) as farm:
        farm.man()
        check_nothing_waits(farm)


def check_nothing_waits(farm: Routed) -> None:
    """Kill the worker that has the first of several jobs."""
    site, broker = farm.site, farm.broker
    jobs = [submit(site, f"s{number}", 150) for number in range(8)]
    chosen = {job_id: until(lambda job_id=job_id: where(broker, job_id), "it is sent") for job_id in jobs}
    assert set(chosen.values()) <= set(NODES)
    victim = chosen[jobs[0]]
    farm.workers[victim].send(signal.SIGSTOP)  # what comes now is sent to it, and waits
    jobs += [submit(site, f"t{number}", 8) for number in range(8)]
    sent = {job_id: where(broker, job_id) for job_id in jobs}
    theirs = [job_id for job_id, node in sent.items() if node == victim and not ended(site, job_id)]
    assert theirs
    farm.workers[victim].send(signal.SIGKILL)
    until(lambda: not any(waits_for(broker, job_id, victim) for job_id in theirs), "all go on")
    assert [site.ended(job_id)["status"] for job_id in jobs] == ["succeeded"] * len(jobs)


def where(broker: redis.Redis, job_id: str) -> str | None:
    """The worker to whom the job's membrane was sent."""
    node: str | None = broker.hget(keys.job(job_id), "direct:memory")
    return node


def ended(site: Site, job_id: str) -> bool:
    return site.get(f"/api/jobs/{job_id}").json["finished_at"] is not None


def waits_for(broker: redis.Redis, job_id: str, node: str) -> bool:
    """Whether a step of the job is in the worker's queue, or in its hands."""
    for step in ("memory", keys.INTEGRATION):
        sent, held_by, lease = broker.hmget(keys.job(job_id), f"direct:{step}", f"node:{step}", f"lease:{step}")
        is_sent = sent == node and broker.zscore(keys.direct_lane(node), f"{job_id}.{step}") is not None
        if is_sent or (lease is not None and held_by == node):
            return True
    return False


def talk(site: Site, session_id: str) -> list[dict[str, Any]]:
    """A session's turns: where each was served, and what of its prompt was known there."""
    said, past = [], 0
    for number in range(TURNS):
        body = {
            "input_text": f"My name is Zorla and my number is {session_id}{number}.",
            "session_id": session_id,
            "processing_options": {"membranes": ["memory"], "max_tokens": 12, "temperature": 0, "cache": False},
        }
        answer = site.post("/api/cognitive/process", body)
        assert answer.status == 200, answer.body
        found = answer.json["cognitive_metadata"]["membranes"]["memory"]
        said.append({"number": number, "past": past} | found)
        past = found["state_tokens"]
        time.sleep(THINKS_S)
    return said
