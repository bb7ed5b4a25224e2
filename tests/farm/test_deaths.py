"""Workers that die, freeze, or are killed by what they are asked: every job ends once, with the same answer."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from processes import Running, Site, until

from echo_tasks import holding, keys

pytestmark = [pytest.mark.farm, pytest.mark.timeout(240)]

GREEDY = {"temperature": 0.0, "max_tokens": 30}
UNHURRIED = ("-I", "tests.farm.unhurried")
"""A worker that is to be caught at work: each step lasts for 50 ms a token."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Site]:
    """Servers and API without workers; two deaths are enough for a dead letter."""
    env = {"ECHO_SLOTS": "4", "ECHO_MODEL": str(talkative), "ENABLE_CACHING": "false", "MAX_RETRY_ATTEMPTS": "2"}
    site = Site(tmp_path_factory.mktemp("deaths"), env)
    with site.server("broker"), site.server("store"), site.http():
        yield site


@pytest.fixture
def broker(own: Site) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own.broker_url, decode_responses=True) as client:
        yield client


def ask(site: Site, text: str, **fields: Any) -> str:
    """A job's id."""
    body = {"input_text": text, "membranes": ["memory", "grammar"], "options": GREEDY} | fields
    job_id: str = site.post("/api/jobs", body).json["job_id"]
    return job_id


def ends(broker: redis.Redis, job_id: str) -> int:
    """How often a job's stream says that it has ended."""
    events = [fields for _, fields in broker.xrange(keys.events(job_id))]
    return sum(event["type"] in {"result", "error"} for event in events)


def outputs(job: dict[str, Any]) -> dict[str, str]:
    assert job["status"] == "succeeded", job
    return job["result"]["membrane_outputs"] | {"answer": job["result"]["response_text"]}


def holders(broker: redis.Redis) -> set[str]:
    """The nodes that hold a lease."""
    members = (member.rsplit(".", 1) for member in broker.zrange(keys.LEASES, 0, -1))
    return {broker.hget(keys.job(job_id), f"node:{step}") or "" for job_id, step in members}


def test_jobs_of_a_killed_worker_end_elsewhere_as_they_would_have(own: Site, broker: redis.Redis) -> None:
    """SIGKILL under load: its steps run again, and every answer is that of an undisturbed run."""
    texts = [f"Tell me about number {number}." for number in range(4)]
    with own.worker(*UNHURRIED, name="first") as first, own.worker(name="second"):
        jobs = [ask(own, text) for text in texts]
        until(lambda: "first@test" in holders(broker), "the first one works")
        first.process.send_signal(signal.SIGKILL)
        until(lambda: "first@test" not in holders(broker), "its steps are another's")
        answers = [outputs(own.ended(job_id)) for job_id in jobs]
        undisturbed = [outputs(own.ended(job_id)) for job_id in [ask(own, text) for text in texts]]
    assert answers == undisturbed
    assert sum(again(broker, job_id) for job_id in jobs) > 0
    assert [ends(broker, job_id) for job_id in jobs] == [1] * len(jobs)


def again(broker: redis.Redis, job_id: str) -> int:
    """How often steps of a job were delivered again."""
    counts = broker.hmget(keys.job(job_id), [f"deliveries:{step}" for step in keys.STEPS])
    return sum(int(count) - 1 for count in counts if count)


def test_a_killed_workers_step_whose_message_is_gone_runs_again(own: Site, broker: redis.Redis) -> None:
    """Messages that nobody gives back, as if it had died between a pop and its note: the ledger knows the step."""
    with own.worker(*UNHURRIED, name="first") as first:
        job_id = ask(own, "Go on.", membranes=["memory"], options=GREEDY | {"max_tokens": 80})
        until(lambda: "first@test" in holders(broker), "it works")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    broker.delete(holding.HELD, holding.INDEX)
    with own.worker(name="second"):
        until(lambda: "second@test" in holders(broker), "its steps are another's")
        outputs(own.ended(job_id))
    assert ends(broker, job_id) == 1


def test_a_frozen_worker_that_comes_back_changes_nothing(own: Site, broker: redis.Redis) -> None:
    """SIGSTOP until another has answered, SIGCONT: the successor's answer stands, and the events are of one run."""
    with own.worker(*UNHURRIED, name="frozen") as frozen:
        job_id = ask(own, "Tell me a story.", options=GREEDY | {"max_tokens": 80})
        until(lambda: "frozen@test" in holders(broker), "it works")
        frozen.process.send_signal(signal.SIGSTOP)
        with own.worker(name="second"):
            answer = outputs(own.ended(job_id))
            frozen.process.send_signal(signal.SIGCONT)
            until(lambda: "taken over" in frozen.text() or "step cancelled" in frozen.text(), "it finds out")
            later = ask(own, "Tell me a story.", options=GREEDY | {"max_tokens": 80})
            assert outputs(own.ended(later)) == answer
        assert frozen.process.poll() is None
    assert outputs(own.get(f"/api/jobs/{job_id}").json) == answer
    assert ends(broker, job_id) == 1
    assert streamed(broker, job_id, "memory") == answer["memory"]


def streamed(broker: redis.Redis, job_id: str, step: str) -> str:
    """What a follower of the events has of a step at the end: the text since its last restart."""
    text = ""
    for _, fields in broker.xrange(keys.events(job_id)):
        data = json.loads(fields["data"])
        if data.get("restarted") == step:
            text = ""
        elif data.get("membrane") == step:
            text += data["text"]
    return text.strip()


def test_a_job_that_kills_its_workers_is_given_up_and_others_are_not(own: Site, broker: redis.Redis) -> None:
    """After two deaths it is a dead letter; what runs beside it is answered, and so is it when it is sent again."""
    poison = ask(own, "Poison.", membranes=["memory"], options={"max_tokens": 200})
    for number in range(2):
        with own.worker(*UNHURRIED, name=f"victim{number}") as victim:
            other = ask(own, f"Number {number}?", options={"max_tokens": 4})
            assert own.ended(other)["status"] == "succeeded"
            die_of(victim, broker, poison)
    with own.worker(name="survivor"):
        job = own.ended(poison)
        assert (job["status"], "2 times" in job["error"]["reason"]) == ("failed", True)
        (letter,) = own.get("/api/dead-letters").json["letters"]
        known = (letter["job_id"], letter["step"], letter["deliveries"], letter["node"])
        assert known == (poison, "memory", 2, "victim1@test")
        sent_again = own.request("POST", f"/api/dead-letters/{poison}/replay").json["job_id"]
        assert own.ended(sent_again)["status"] == "succeeded"
    assert own.get("/api/dead-letters").json["letters"] == []
    assert [ends(broker, job_id) for job_id in (poison, sent_again)] == [1, 1]


def die_of(worker: Running, broker: redis.Redis, job_id: str) -> None:
    """Kill the worker as soon as it holds the job."""
    node = f"{worker.log.stem}@test"
    until(lambda: broker.hget(keys.job(job_id), "node:memory") == node, f"{node} takes it")
    worker.process.send_signal(signal.SIGKILL)
    worker.process.wait()


def test_a_job_past_its_time_fails_queued_or_running(own: Site, broker: redis.Redis) -> None:
    """`timeout_s` bounds the whole: a running generation stops, a queued one never runs, both end once."""
    with own.worker(*UNHURRIED, env={"ECHO_SLOTS": "1"}):
        fields = {"membranes": ["memory"], "timeout_s": 2, "options": {"max_tokens": 4096}}
        jobs = [ask(own, f"Go on, {number}.", **fields) for number in range(2)]
        ended = [own.ended(job_id) for job_id in jobs]
        assert {(job["status"], job["error"]["reason"]) for job in ended} == {
            ("failed", "not answered within timeout_s=2")
        }
        after = ask(own, "Short.", membranes=["memory"], options={"max_tokens": 4})
        assert own.ended(after)["status"] == "succeeded"
    assert [ends(broker, job_id) for job_id in jobs] == [1, 1]
