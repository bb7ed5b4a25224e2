"""Records of jobs that something else has written into: their jobs end and say so, and all others go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from processes import Site, until

from echo_tasks import damage, keys
from echo_tasks.ledger import Ledger
from echo_tasks.messages import JobSpec

pytestmark = pytest.mark.farm

JOB = {"input_text": "Hello.", "membranes": ["memory"], "cache": False, "options": {"max_tokens": 1}}


def _without_text(broker: redis.Redis, record: str) -> None:
    spec = json.loads(broker.hget(record, "spec"))
    broker.hset(record, "spec", json.dumps(spec | {"input_text": 5, "membranes": "memory"}))


def _cut_off(broker: redis.Redis, record: str) -> None:
    broker.hset(record, "spec", broker.hget(record, "spec")[:-20])


def _a_string(broker: redis.Redis, record: str) -> None:
    broker.delete(record)
    broker.set(record, "junk")


def _field(name: str, value: str) -> Callable[[redis.Redis, str], Any]:
    return lambda broker, record: broker.hset(record, name, value)


WAYS: dict[str, Callable[[redis.Redis, str], Any]] = {
    "a spec that is no JSON": _field("spec", "junk"),
    "a spec that is null": _field("spec", "null"),
    "a spec that is cut off": _cut_off,
    "a spec of other kinds": _without_text,
    "no spec": lambda broker, record: broker.hdel(record, "spec"),
    "deliveries that are no number": _field("deliveries:memory", "many"),
    "turns that are no number": _field("past_turns", "many"),
    "a deadline that is no time": _field("deadline", "soon"),
    "an output that is no JSON": lambda broker, record: broker.hset(
        record, mapping={"output:memory": "{", "pending": 0}
    ),
    "no record but a string": _a_string,
}


def test_a_job_whose_record_cannot_be_read_ends_and_says_so(tmp_path: Path, talkative: Path) -> None:
    """By whoever takes it up, worker or reaper, once; its session goes on, and nothing fails in a loop."""
    own = Site(tmp_path, {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "4", "MAX_QUEUED_JOBS": "100"})
    with own.server("broker"), own.server("store"), own.http() as api:
        broker = redis.Redis.from_url(own.broker_url, decode_responses=True)
        jobs = {way: own.post("/api/jobs", JOB | {"session_id": f"s{n}"}).json for n, way in enumerate(WAYS)}
        after = [own.post("/api/jobs", JOB | {"session_id": f"s{n}"}).json["job_id"] for n in range(len(WAYS))]
        for way, job in jobs.items():
            WAYS[way](broker, keys.job(job["job_id"]))
        told = own.get(f"/api/jobs/{jobs['no spec']['job_id']}")
        assert (told.status, "damaged" in told.json["detail"]) == (500, True)
        unsent = _without_message(broker)
        with own.worker() as worker:
            for job_id in [*(job["job_id"] for job in jobs.values()), unsent]:
                until(lambda job_id=job_id: own.get(f"/api/jobs/{job_id}").status == 200, "its end can be read")
                ended = own.ended(job_id)
                assert (ended["status"], ended["error"]["reason"]) == ("failed", damage.REASON)
                assert broker.exists(keys.damaged(job_id))
            for job_id in after[:-1]:  # all but that of whose record nothing was left
                assert own.ended(job_id)["status"] == "succeeded"
            assert own.ended(own.post("/api/jobs", JOB | {"session_id": f"s{len(WAYS) - 1}"}).json["job_id"])
            assert own.ended(after[-1])["status"] == "succeeded"
            assert until(lambda: broker.zcard(keys.OPEN_JOBS) == 0, "none is open")
            assert worker.text().count("job given up") == len(WAYS) + 1
            assert "Traceback" not in worker.text()
        assert "Traceback" not in api.text()
        broker.close()


def _without_message(broker: redis.Redis) -> str:
    """A job whose messages are lost, and whose record the reaper's script cannot count in."""
    ledger = Ledger(broker, retention_s=600, session_s=600)
    spec = JobSpec(job_id="f" * 32, session_id="unsent", input_text="Hello.")
    ledger.create(spec)
    assert ledger.release(spec.session_id)
    broker.hset(keys.job(spec.job_id), "losses:memory", "many")
    return spec.job_id
