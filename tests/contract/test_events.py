"""A job's stream: in order, resumable, closed by the job's end."""

from __future__ import annotations

import json
import uuid

import pytest
import redis

from echo_tasks.events import Events
from echo_tasks.leases import Claim
from echo_tasks.ledger import Ledger
from echo_tasks.messages import JobSpec, Lease


def held(ledger: Ledger) -> Lease:
    """The lease of a step of a new job."""
    spec = JobSpec(job_id=uuid.uuid4().hex, session_id=uuid.uuid4().hex, input_text="Hello.")
    ledger.create(spec)
    ledger.release(spec.session_id)
    claim = ledger.steps.claim(spec.job_id, "memory")
    assert isinstance(claim, Claim)
    return claim.lease


def test_tokens_come_back_in_order_and_from_any_place(broker: redis.Redis, ledger: Ledger) -> None:
    """What was appended reads back in order; an id resumes right behind itself."""
    events, lease = Events(broker), held(ledger)
    for number in range(5):
        events.append({lease: f"{number} é"})
    tokens = [event for event in events.read(lease.job_id) if event.kind == "token"]
    assert [json.loads(t.data) for t in tokens] == [{"membrane": "memory", "text": f"{n} é"} for n in range(5)]
    assert events.read(lease.job_id, after=tokens[3].id) == tokens[4:]
    assert events.read(lease.job_id, after=tokens[-1].id) == []


def test_several_steps_share_a_round_trip_and_those_that_are_over_are_told(broker: redis.Redis, ledger: Ledger) -> None:
    """One append serves many steps; those of jobs that have ended or never were take nothing and are returned."""
    cancelled, running, unknown = held(ledger), held(ledger), Lease("unknown", "memory", 1)
    ledger.cancel(cancelled.job_id)
    events = Events(broker)
    assert events.append(dict.fromkeys((cancelled, running, unknown), "a")) == {cancelled, unknown}
    assert events.read(cancelled.job_id)[-1].data == '{"status":"cancelled"}'
    assert events.read(running.job_id)[-1].kind == "token"
    assert events.append({}) == set()


def test_one_that_only_asks_writes_nothing(broker: redis.Redis, ledger: Ledger) -> None:
    """No text is no event."""
    lease = held(ledger)
    assert Events(broker).append({lease: ""}) == set()
    assert [event.kind for event in Events(broker).read(lease.job_id)] == ["status", "status"]


def test_a_batch_whose_answer_was_lost_is_written_once(
    broker: redis.Redis, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client sends it again, with the same words; the same text said twice is two events."""
    events, lease = Events(broker), held(ledger)
    once = events._append
    monkeypatch.setattr(events, "_append", lambda **call: (once(**call), once(**call))[1])
    for _ in range(2):
        assert events.append({lease: "again"}) == set()
    tokens = [event.data for event in events.read(lease.job_id) if event.kind == "token"]
    assert tokens == ['{"membrane":"memory","text":"again"}'] * 2
