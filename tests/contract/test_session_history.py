"""A session's history: trimmed by halves, forked exactly, deleted whole."""

from __future__ import annotations

import uuid
from random import Random
from typing import Any

import pytest
import redis

from echo_tasks import keys
from echo_tasks.errors import BrokerUnavailable, SessionExists, SessionNotFound, TurnNotKept
from echo_tasks.events import Events
from echo_tasks.leases import NothingToDo
from echo_tasks.ledger import Ledger
from echo_tasks.messages import JobError, JobResult, JobSpec, JobStatus, MemoryDraft, Past, Turn
from echo_tasks.sessions import SessionBounds, Sessions

BOUNDS = SessionBounds(live=10_000, turns=4, tokens=100)


@pytest.fixture
def session_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def bounded(broker: redis.Redis) -> Ledger:
    """A ledger that keeps four turns, or a hundred tokens."""
    return Ledger(broker, retention_s=600, session_s=600, bounds=BOUNDS)


@pytest.fixture
def sessions(broker: redis.Redis) -> Sessions:
    return Sessions(broker, retention_s=600, session_s=600, bounds=BOUNDS)


def accepted(ledger: Ledger, session_id: str, text: str = "Hello.") -> JobSpec:
    """A job that has been let go."""
    ledger.create(JobSpec(job_id=uuid.uuid4().hex, session_id=session_id, input_text=text))
    spec = ledger.release(session_id)
    assert spec is not None
    return spec


def answer(session_id: str, text: str = "Yes.", **fields: Any) -> JobResult:
    return JobResult(
        session_id=session_id,
        response_text=text,
        processing_time_ms=1.0,
        membrane_outputs={},
        cognitive_metadata={},
        **fields,
    )


def said(ledger: Ledger, session_id: str, text: str, tokens: int = 1, *, told: bool = False) -> JobSpec:
    """A turn of the session, which told something to remember, or did not."""
    spec = accepted(ledger, session_id, text)
    made = [MemoryDraft(content=text, memory_type="declarative", importance=0.5)] if told else []
    assert ledger.succeed(spec, answer(session_id, turn_tokens=tokens, memories_made=made))
    return spec


def next_past(ledger: Ledger, session_id: str) -> Past:
    """What the session's next job would know."""
    spec = accepted(ledger, session_id)
    assert ledger.abandon(spec)
    return spec.past


def kept(sessions: Sessions, session_id: str) -> list[int]:
    return [turn.number for turn in sessions.history(session_id)]


def test_the_older_half_goes_at_once(bounded: Ledger, sessions: Sessions, session_id: str) -> None:
    """The beginning of the history stays the same until there are too many turns; then it is another for a while."""
    seen = []
    for number in range(1, 9):
        said(bounded, session_id, f"text {number}")
        seen.append(kept(sessions, session_id))
    assert seen == [[1], [1, 2], [1, 2, 3], [1, 2, 3, 4], [4, 5], [4, 5, 6], [4, 5, 6, 7], [7, 8]]


@pytest.mark.parametrize(
    ("tokens", "expected"), [([60, 30, 30], [3]), ([10, 20, 90], [3]), ([10, 10, 500], []), ([50, 50], [1, 2])]
)
def test_tokens_bound_a_history_too(
    bounded: Ledger, sessions: Sessions, session_id: str, tokens: list[int], expected: list[int]
) -> None:
    """Halves go until the rest is within the bound, a turn that is too long by itself among them."""
    for number, count in enumerate(tokens):
        said(bounded, session_id, f"text {number}", count)
    assert kept(sessions, session_id) == expected
    session = sessions.read(session_id)
    assert (session.turns, session.turns_kept) == (len(tokens), len(expected))
    assert session.tokens_kept == sum(tokens[number - 1] for number in expected)


@pytest.mark.parametrize("seed", range(3))
def test_trimming_follows_its_rule(bounded: Ledger, sessions: Sessions, session_id: str, seed: int) -> None:
    """After every turn of any length the history is what the rule, written down once more, says it is."""
    random = Random(seed)
    expected: list[tuple[int, int]] = []
    for number in range(1, 41):
        tokens = random.choice((0, 1, 30, 60, 101))
        said(bounded, session_id, f"text {number}", tokens)
        expected.append((number, tokens))
        while len(expected) > BOUNDS.turns or sum(tokens for _, tokens in expected) > BOUNDS.tokens:
            expected = expected[(len(expected) + 1) // 2 :]
        assert [(turn.number, turn.tokens) for turn in sessions.history(session_id)] == expected
    assert sessions.read(session_id).turns == 40


def test_a_job_is_told_what_is_gone(bounded: Ledger, session_id: str) -> None:
    """Its past names the turns that are not kept, and it gets the others, even after later ones were appended."""
    for number in range(1, 6):
        said(bounded, session_id, f"text {number}")
    spec = accepted(bounded, session_id)
    assert (spec.past.turns, spec.past.gone) == (5, 3)
    assert [turn.user for turn in bounded.turns(spec)] == ["text 4", "text 5"]
    assert bounded.succeed(spec, answer(session_id))
    assert [turn.user for turn in bounded.turns(spec)] == ["text 4", "text 5"]


def test_the_history_tells_of_every_turn(bounded: Ledger, sessions: Sessions, session_id: str) -> None:
    """Its number, its texts, its tokens, its job, and when that ended."""
    spec = said(bounded, session_id, "Hello.", 7)
    (turn,) = sessions.history(session_id)
    assert Turn(user="Hello.", assistant="Yes.", tokens=7) == Turn.model_validate(dict(turn))
    assert (turn.number, turn.job_id, turn.at) == (1, spec.job_id, bounded.read(spec.job_id).finished_at)


def test_a_session_counts_what_its_jobs_came_to(bounded: Ledger, sessions: Sessions, session_id: str) -> None:
    """Answered, failed and from the cache; a cancelled one is none of these."""
    said(bounded, session_id, "one")
    cached = accepted(bounded, session_id)
    bounded.steps.claim(cached.job_id, "memory")
    bounded.succeed(cached, answer(session_id, cache_hit=True))
    bounded.fail(accepted(bounded, session_id), JobError(reason="no"))
    bounded.cancel(accepted(bounded, session_id).job_id)
    open_one = accepted(bounded, session_id)
    session = sessions.read(session_id)
    assert (session.succeeded, session.failed, session.cache_hits, session.turns) == (2, 1, 1, 2)
    assert session.open_jobs == 1
    assert 0 < session.processing_s < 60
    assert session.created_at < session.last_activity
    bounded.cancel(open_one.job_id)


def test_a_fork_is_what_the_session_was(bounded: Ledger, sessions: Sessions, session_id: str) -> None:
    """It knows the first turns and what they told, exactly as the next job of the session itself did then."""
    pasts = [next_past(bounded, session_id)]
    for number in range(1, 5):
        said(bounded, session_id, f"text {number}", told=number != 2)
        pasts.append(next_past(bounded, session_id))
    for turn in range(5):
        fork = uuid.uuid4().hex
        sessions.fork(session_id, turn, fork)
        assert next_past(bounded, fork) == pasts[turn]
        assert kept(sessions, fork) == list(range(1, turn + 1))
        assert sessions.read(fork).tokens_kept == turn
    said(bounded, fork, "another way")
    assert next_past(bounded, session_id) == pasts[4]


def test_a_fork_of_a_trimmed_session_begins_where_it_does(bounded: Ledger, sessions: Sessions, session_id: str) -> None:
    """A turn that is gone, or has not been, cannot be gone on from; the range that can be is told."""
    for number in range(1, 7):
        said(bounded, session_id, f"text {number}", told=True)
    for turn in (0, 3, 7):
        with pytest.raises(TurnNotKept) as caught:
            sessions.fork(session_id, turn, "never")
        assert (caught.value.first, caught.value.last) == (4, 6)
    fork = uuid.uuid4().hex
    sessions.fork(session_id, 5, fork)
    assert kept(sessions, fork) == [4, 5]
    assert sessions.read(fork).memories == 5
    said(bounded, session_id, "text 7")  # trims the source alone
    assert kept(sessions, fork) == [4, 5]


def test_a_fork_needs_a_session_and_a_name(bounded: Ledger, sessions: Sessions, session_id: str) -> None:
    """Neither is made out of nothing, nor does one overwrite another."""
    with pytest.raises(SessionNotFound):
        sessions.fork(uuid.uuid4().hex, 0, session_id)
    said(bounded, session_id, "one")
    with pytest.raises(SessionExists):
        sessions.fork(session_id, 1, session_id)


def test_a_deleted_session_leaves_nothing(
    bounded: Ledger, sessions: Sessions, session_id: str, broker: redis.Redis
) -> None:
    """No key of it remains; its open jobs, wherever they stand, are cancelled, and their followers told."""
    said(bounded, session_id, "I like tea.", told=True)
    running = accepted(bounded, session_id)
    bounded.steps.claim(running.job_id, "memory")
    waiting = JobSpec(job_id=uuid.uuid4().hex, session_id=session_id, input_text="Waits.")
    bounded.create(waiting)
    before = bounded.open_jobs()
    sessions.delete(session_id)
    assert bounded.open_jobs() == before - 2
    for spec in (running, waiting):
        assert bounded.read(spec.job_id).status is JobStatus.CANCELLED
        assert Events(broker).read(spec.job_id)[-1].is_last
        assert 0 < broker.ttl(keys.job(spec.job_id)) <= 600
    assert not broker.exists(*keys.of_session(session_id)[:-1])
    assert broker.zscore(keys.SESSIONS, session_id) is None
    for call in (sessions.read, sessions.history, sessions.delete):
        with pytest.raises(SessionNotFound, match=session_id):
            call(session_id)


def test_a_full_broker_lets_sessions_go(
    bounded: Ledger, sessions: Sessions, session_id: str, broker: redis.Redis
) -> None:
    """Deleting is what makes room, so it needs none, even where jobs have to be cancelled."""
    said(bounded, session_id, "one")
    running = accepted(bounded, session_id)
    broker.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerUnavailable):
            sessions.open(uuid.uuid4().hex)
        sessions.delete(session_id)
        assert bounded.read(running.job_id).status is JobStatus.CANCELLED
    finally:
        broker.config_set("maxmemory", 0)


def test_the_end_of_a_turn_brings_no_deleted_session_back(
    bounded: Ledger, sessions: Sessions, session_id: str, broker: redis.Redis
) -> None:
    """A worker that was at it when the session went leaves nothing behind; a new session of the name begins anew."""
    said(bounded, session_id, "one", told=True)
    running = accepted(bounded, session_id)
    sessions.delete(session_id)
    assert not bounded.succeed(running, answer(session_id, memories_used=["1-1"]))
    assert bounded.release(session_id) is None
    assert bounded.steps.claim(running.job_id, "memory") == NothingToDo("ended")
    assert not broker.exists(*keys.of_session(session_id)[:-1])
    assert next_past(bounded, session_id) == Past()
