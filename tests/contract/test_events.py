"""A job's stream: in order, resumable, closed by the job's end."""

from __future__ import annotations

import json
import uuid

import pytest
import redis

from echo_tasks.events import Events
from echo_tasks.ledger import Ledger
from echo_tasks.messages import JobSpec


@pytest.fixture
def job_id(ledger: Ledger) -> str:
    spec = JobSpec(job_id=uuid.uuid4().hex, session_id="s", input_text="Hello.")
    ledger.create(spec)
    return spec.job_id


def test_tokens_come_back_in_order_and_from_any_place(broker: redis.Redis, job_id: str) -> None:
    """What was appended reads back in order; an id resumes right behind itself."""
    events = Events(broker)
    for number in range(5):
        events.append({job_id: [{"membrane": "memory", "text": f"{number} é"}, {"membrane": "grammar", "text": "x"}]})
    tokens = [event for event in events.read(job_id) if event.kind == "token"]
    assert [json.loads(t.data)["text"] for t in tokens[::2]] == [f"{n} é" for n in range(5)]
    assert events.read(job_id, after=tokens[3].id) == tokens[4:]
    assert events.read(job_id, after=tokens[-1].id) == []


def test_several_jobs_share_a_round_trip_and_the_ended_are_told(
    broker: redis.Redis, ledger: Ledger, job_id: str
) -> None:
    """One append serves many jobs; those that have ended or never were take nothing and are returned."""
    other = JobSpec(job_id=uuid.uuid4().hex, session_id="s", input_text="Hello.")
    ledger.create(other)
    ledger.cancel(job_id)
    events = Events(broker)
    piece = [{"membrane": "memory", "text": "a"}]
    assert events.append({job_id: piece, other.job_id: piece, "unknown": piece}) == {job_id, "unknown"}
    assert events.read(job_id)[-1].data == '{"status":"cancelled"}'
    assert events.read(other.job_id)[-1].kind == "token"
    assert events.append({}) == set()
