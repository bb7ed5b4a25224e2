"""Steps that are sent to workers' own queues: whoever dies, no job waits for him; and sessions find their states."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from processes import Running, Site, until

from echo_tasks import keys
from echo_tasks.leases import LEASE_S
from echo_tasks.routing import MOST_OF_MEAN, STRATEGIES

pytestmark = [pytest.mark.farm, pytest.mark.timeout(300)]

NODES = ("a@test", "b@test")


@contextmanager
def farm(folder: Path, **env: str) -> Iterator[tuple[Site, dict[str, Running], redis.Redis]]:
    """A whole farm with two workers."""
    site = Site(folder, env)
    with (
        site.server("broker"),
        site.server("store"),
        site.http(),
        site.worker(name="a") as first,
        site.worker(name="b") as second,
        redis.Redis.from_url(site.broker_url, decode_responses=True) as broker,
    ):
        yield site, dict(zip(NODES, (first, second), strict=True)), broker


def submit(site: Site, session_id: str, max_tokens: int) -> str:
    body = {
        "input_text": "Tell me a story.",
        "session_id": session_id,
        "membranes": ["memory"],
        "options": {"max_tokens": max_tokens, "temperature": 0},
        "cache": False,
    }
    return str(site.post("/api/jobs", body).json["job_id"])


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_no_job_waits_for_a_killed_worker(tmp_path: Path, talkative: Path, strategy: str) -> None:
    """What was sent to it, begun or not, is another's within its lease and five seconds; nothing is lost."""
    env = {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "8", "ECHO_GRACE_S": "0", "LB_STRATEGY": strategy}
    with farm(tmp_path, **env) as (site, workers, broker):
        jobs = [submit(site, f"s{number}", 200) for number in range(8)]
        chosen = {job_id: until(lambda job_id=job_id: where(broker, job_id), "it is sent") for job_id in jobs}
        assert set(chosen.values()) <= set(NODES)
        victim = chosen[jobs[0]]
        workers[victim].send(signal.SIGSTOP)  # what comes now is sent to it, and waits
        jobs += [submit(site, f"t{number}", 8) for number in range(8)]
        sent = {job_id: where(broker, job_id) for job_id in jobs}
        theirs = [job_id for job_id, node in sent.items() if node == victim and not ended(site, job_id)]
        assert theirs
        workers[victim].send(signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: not any(waits_for(broker, job_id, victim) for job_id in theirs), "all go on", LEASE_S + 5)
        print(f"{strategy}: {len(theirs)} jobs of the killed worker went on after {time.monotonic() - killed:.1f} s")
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


SESSIONS, TURNS, THINKS_S = 48, 4, 0.5
WARM = {"l1", "engine"}


def test_sessions_find_their_states_where_they_are_sent(tmp_path: Path) -> None:
    """Most follow-up turns go on from a state in their worker's own memory, and no worker has more than its share."""
    env = {"LB_STRATEGY": "affinity", "ECHO_SLOTS": "32", "ECHO_THREADS": "1", "MAX_CONCURRENT_SESSIONS": "1000"}
    with farm(tmp_path, **env) as (site, _, _), ThreadPoolExecutor(16) as clients:
        until(lambda: site.get("/readyz").status == 200, "the farm is ready")
        began = time.monotonic()
        sessions = list(clients.map(lambda number: talk(site, f"s{number}"), range(SESSIONS)))
        took_s = time.monotonic() - began
    told = [turn for turns in sessions for turn in turns]
    follow_ups = [turn for turn in told if turn["number"] > 0]
    warm = [turn for turn in follow_ups if turn["state_tier"] in WARM and turn["state_tokens"] > turn["past"]]
    served = Counter(turn["node"] for turn in told)
    most = max(served.values()) / (len(told) / len(NODES))
    tiers = dict(Counter(turn["state_tier"] for turn in follow_ups))
    share = len(warm) / len(follow_ups)
    print(f"{len(told)} turns in {took_s:.1f} s: {share:.1%} warm of those that follow another, found in {tiers};")
    print(f"the busiest worker has {most:.2f} times the mean")
    assert len(warm) >= 0.9 * len(follow_ups)
    assert most <= MOST_OF_MEAN


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
