"""What a session's jobs leave for the next one: its turns, in the ledger."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from echo_tasks import keys
from echo_tasks.answers import answer_key
from echo_tasks.leases import Claim, NothingToDo
from echo_tasks.ledger import Ledger
from echo_tasks.messages import JobError, JobResult, JobSpec, Past, Turn

pytestmark = pytest.mark.farm


@pytest.fixture
def session_id() -> str:
    return uuid.uuid4().hex


def spec_in(session_id: str, text: str = "Hello.", **fields: Any) -> JobSpec:
    return JobSpec(job_id=uuid.uuid4().hex, session_id=session_id, input_text=text, **fields)


def answer_to(session_id: str, text: str) -> JobResult:
    return JobResult(
        session_id=session_id,
        response_text=text,
        processing_time_ms=1.0,
        membrane_outputs={},
        cognitive_metadata={},
    )


def said(ledger: Ledger, session_id: str, text: str, answer: str) -> JobSpec:
    """A job that knows all turns so far, and ends with an answer."""
    ledger.create(spec_in(session_id, text))
    spec = ledger.release(session_id)
    assert spec is not None
    result = answer_to(session_id, answer)
    assert ledger.succeed(spec, result)
    assert not ledger.succeed(spec, result)  # delivered twice, it is still one turn
    return spec


def past(ledger: Ledger, session_id: str) -> Past:
    """What the session's next job would know."""
    probe = spec_in(session_id)
    ledger.create(probe)
    spec = ledger.release(session_id)
    assert spec is not None
    assert ledger.abandon(probe)
    return spec.past


def test_a_session_without_turns_has_no_past(ledger: Ledger, session_id: str) -> None:
    """Nothing was said in a session that nobody knows."""
    assert past(ledger, session_id) == Past()
    assert ledger.turns(spec_in(session_id)) == []


def test_answered_jobs_become_turns_in_order(ledger: Ledger, session_id: str) -> None:
    """A job knows the turns that had ended when it was accepted, and none that came later."""
    for number in range(3):
        said(ledger, session_id, f"text {number}", f"answer {number}")
    between = spec_in(session_id, past=past(ledger, session_id))
    said(ledger, session_id, "later", "later")
    assert between.past.turns == 3
    assert ledger.turns(between) == [Turn(user=f"text {n}", assistant=f"answer {n}") for n in range(3)]
    assert past(ledger, session_id).turns == 4


def in_line(ledger: Ledger, session_id: str, count: int) -> list[JobSpec]:
    """Jobs of one session, accepted one after the other."""
    specs = [spec_in(session_id, f"text {number}") for number in range(count)]
    for spec in specs:
        ledger.create(spec)
    return specs


def test_turns_posted_at_once_go_one_at_a_time(ledger: Ledger, session_id: str) -> None:
    """Each is let go once, when the one before has ended, and knows all that was said before."""
    for number, spec in enumerate(in_line(ledger, session_id, 4)):
        turn = ledger.release(session_id)
        assert turn is not None
        assert (turn.job_id, turn.past.turns) == (spec.job_id, number)
        assert ledger.release(session_id) is None
        assert isinstance(ledger.steps.claim(spec.job_id, "memory"), Claim)
        ledger.succeed(turn, answer_to(session_id, "yes"))
    assert ledger.release(session_id) is None


def test_a_job_in_line_is_not_run_before_its_turn(ledger: Ledger, session_id: str) -> None:
    """A message that comes too early finds nothing to do."""
    first, second = in_line(ledger, session_id, 2)
    ledger.release(session_id)
    assert ledger.steps.claim(second.job_id, "memory") == NothingToDo("early")
    assert isinstance(ledger.steps.claim(first.job_id, "memory"), Claim)


@pytest.mark.parametrize("gone", ["cancelled", "abandoned", "lost"])
def test_one_that_leaves_the_line_holds_nobody_up(
    ledger: Ledger, broker: redis.Redis, session_id: str, gone: str
) -> None:
    """Wherever it stood: whoever is first now is let go."""
    first, second, third = in_line(ledger, session_id, 3)
    ledger.release(session_id)
    for spec in (second, first):
        if gone == "cancelled":
            ledger.cancel(spec.job_id)
        elif gone == "abandoned":
            assert ledger.abandon(spec)
        else:
            broker.delete(keys.job(spec.job_id))
    turn = ledger.release(session_id)
    assert turn is not None
    assert turn.job_id == third.job_id


def test_many_who_let_go_at_once_let_one_go(ledger: Ledger, session_id: str) -> None:
    """Of fifty calls one gets the turn."""
    in_line(ledger, session_id, 3)
    with ThreadPoolExecutor(16) as pool:
        turns = [turn for turn in pool.map(lambda _: ledger.release(session_id), range(50)) if turn]
    assert len(turns) == 1


def test_jobs_that_fail_or_are_cancelled_are_no_turns(ledger: Ledger, session_id: str) -> None:
    """Only what was answered was said."""
    failed, cancelled = spec_in(session_id), spec_in(session_id)
    for spec in (failed, cancelled):
        ledger.create(spec)
    ledger.fail(failed, JobError(reason="no"))
    ledger.cancel(cancelled.job_id)
    assert past(ledger, session_id) == Past()


def test_the_latest_turns_are_kept(ledger: Ledger, broker: redis.Redis, session_id: str) -> None:
    """Past the bound the older half goes at once, and a job still knows no later ones than its own past."""
    specs = [said(ledger, session_id, f"text {number}", "yes") for number in range(132)]
    assert broker.llen(keys.turns(session_id)) == 64 + 3
    assert [turn.user for turn in ledger.turns(specs[-1])] == [f"text {n}" for n in range(65, 131)]
    assert ledger.turns(specs[2]) == []  # all that it knew is gone
    assert (specs[128].past.turns, specs[128].past.gone) == (128, 0)
    assert (specs[129].past.turns, specs[129].past.gone) == (129, 65)


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
        answer_key(spec_in(session_id, "Who am I?", past=past(ledger, session_id)), "m")
        for session_id in (one, other, third)
    )
    assert same == equal != different
    assert same != answer_key(spec_in(one, "Who am I?"), "m")
