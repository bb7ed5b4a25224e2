"""What a session's jobs leave for the next one: its turns, in the ledger."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import redis

from echo_tasks import keys
from echo_tasks.answers import answer_key
from echo_tasks.ledger import TURNS_KEPT, Ledger
from echo_tasks.messages import JobError, JobResult, JobSpec, Past, Turn

pytestmark = pytest.mark.farm


@pytest.fixture
def session_id() -> str:
    return uuid.uuid4().hex


def spec_in(session_id: str, text: str = "Hello.", **fields: Any) -> JobSpec:
    return JobSpec(job_id=uuid.uuid4().hex, session_id=session_id, input_text=text, **fields)


def said(ledger: Ledger, session_id: str, text: str, answer: str) -> JobSpec:
    """A job that knows all turns so far, and ends with an answer."""
    spec = spec_in(session_id, text, past=ledger.past(session_id))
    ledger.create(spec)
    result = JobResult(
        session_id=session_id,
        response_text=answer,
        processing_time_ms=1.0,
        membrane_outputs={},
        cognitive_metadata={},
    )
    assert ledger.succeed(spec, result)
    assert not ledger.succeed(spec, result)  # delivered twice, it is still one turn
    return spec


def test_a_session_without_turns_has_no_past(ledger: Ledger, session_id: str) -> None:
    """Nothing was said in a session that nobody knows."""
    assert ledger.past(session_id) == Past()
    assert ledger.turns(spec_in(session_id)) == []


def test_answered_jobs_become_turns_in_order(ledger: Ledger, session_id: str) -> None:
    """A job knows the turns that had ended when it was accepted, and none that came later."""
    for number in range(3):
        said(ledger, session_id, f"text {number}", f"answer {number}")
    between = spec_in(session_id, past=ledger.past(session_id))
    said(ledger, session_id, "later", "later")
    assert between.past.turns == 3
    assert ledger.turns(between) == [Turn(user=f"text {n}", assistant=f"answer {n}") for n in range(3)]
    assert ledger.past(session_id).turns == 4


def test_jobs_that_fail_or_are_cancelled_are_no_turns(ledger: Ledger, session_id: str) -> None:
    """Only what was answered was said."""
    failed, cancelled = spec_in(session_id), spec_in(session_id)
    for spec in (failed, cancelled):
        ledger.create(spec)
    ledger.fail(failed.job_id, JobError(reason="no"))
    ledger.cancel(cancelled.job_id)
    assert ledger.past(session_id) == Past()


def test_the_latest_turns_are_kept(ledger: Ledger, broker: redis.Redis, session_id: str) -> None:
    """Of a long session the latest turns remain, and a job still knows no later ones than its own past."""
    specs = [said(ledger, session_id, f"text {number}", "yes") for number in range(TURNS_KEPT + 4)]
    assert broker.llen(keys.turns(session_id)) == TURNS_KEPT
    assert [turn.user for turn in ledger.turns(specs[-1])] == [f"text {n}" for n in range(4, TURNS_KEPT + 3)]
    assert ledger.turns(specs[2]) == []  # all that it knew is gone


def test_a_session_expires_after_its_latest_turn(ledger: Ledger, broker: redis.Redis, session_id: str) -> None:
    """Its turns and what counts them have one time to live, which every turn renews."""
    said(ledger, session_id, "one", "yes")
    for key in (keys.session(session_id), keys.turns(session_id)):
        assert 590 < broker.ttl(key) <= 600
        broker.expire(key, 5)
    said(ledger, session_id, "two", "yes")
    for key in (keys.session(session_id), keys.turns(session_id)):
        assert 590 < broker.ttl(key) <= 600


def test_the_past_decides_the_answer(ledger: Ledger) -> None:
    """Equal pasts in two sessions share an answer's key; another past has another."""
    one, other, third = (uuid.uuid4().hex for _ in range(3))
    for session_id, text in ((one, "I am Zorla."), (other, "I am Zorla."), (third, "I am Mira.")):
        said(ledger, session_id, text, "Nice to meet you.")
    same, equal, different = (
        answer_key(spec_in(session_id, "Who am I?", past=ledger.past(session_id)), "m")
        for session_id in (one, other, third)
    )
    assert same == equal != different
    assert same != answer_key(spec_in(one, "Who am I?"), "m")
