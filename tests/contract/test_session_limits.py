"""How many sessions may live at a time, which of them count, and when they are gone."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from echo_tasks import connections, keys
from echo_tasks.errors import SessionExists, SessionLimitReached, SessionNotFound
from echo_tasks.ledger import Idempotency, Ledger
from echo_tasks.messages import JobResult, JobSpec
from echo_tasks.sessions import SessionBounds, Sessions

BOUNDS = SessionBounds(live=3)


@pytest.fixture
def own(broker_url: str) -> Iterator[redis.Redis]:
    """A database of this test's own, in which nobody else's sessions count."""
    client = connections.impatient(broker_url.removesuffix("/2") + "/7")
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def sessions(own: redis.Redis) -> Sessions:
    return Sessions(own, retention_s=600, session_s=600, bounds=BOUNDS)


@pytest.fixture
def few(own: redis.Redis) -> Ledger:
    """A ledger that lets three sessions live."""
    return Ledger(own, retention_s=600, session_s=600, bounds=BOUNDS)


def job(session_id: str) -> JobSpec:
    return JobSpec(job_id=uuid.uuid4().hex, session_id=session_id, input_text="Hello.")


def answered(ledger: Ledger, session_id: str, *, names_session: bool = True) -> None:
    """A job of the session, from its acceptance to its end."""
    spec = job(session_id)
    ledger.create(spec, names_session=names_session)
    ledger.release(session_id)
    result = JobResult(
        session_id=session_id, response_text="Hi.", processing_time_ms=1, membrane_outputs={}, cognitive_metadata={}
    )
    assert ledger.succeed(spec, result)


def test_one_session_more_than_may_be_is_refused(few: Ledger, sessions: Sessions) -> None:
    """However it would be made; those that are live go on, and what was refused leaves nothing behind."""
    for session_id in "abc":
        few.create(job(session_id))
    refused = job("d")
    with pytest.raises(SessionLimitReached) as caught:
        few.create(refused, Idempotency("key", "f"))
    assert 0 < caught.value.retry_after_s <= 600
    with pytest.raises(SessionLimitReached):
        sessions.open("e")
    with pytest.raises(SessionLimitReached):
        sessions.fork("a", 0, "f")
    few.create(job("a"))
    assert sessions.count() == 3
    assert few.open_jobs() == 4
    for gone in "def":
        with pytest.raises(SessionNotFound):
            sessions.read(gone)
    sessions.delete("b")
    assert few.create(refused, Idempotency("key", "f")).is_new  # the key was not spent


def test_a_session_that_is_opened_is_live(sessions: Sessions) -> None:
    """Before it has any job: it counts, and takes a place."""
    for session_id in "abc":
        sessions.open(session_id)
    assert sessions.count() == 3
    with pytest.raises(SessionLimitReached):
        sessions.open("d")


def test_an_owners_sessions_come_in_pages(own: redis.Redis) -> None:
    """By the beginning of their ids, the latest first, none twice and none left out."""
    sessions = Sessions(own, retention_s=600, session_s=600, bounds=SessionBounds(live=100))
    for number in range(5):
        sessions.open(f"ann_{number}")
        sessions.open(f"bob_{number}")
    pages = [sessions.live(offset=at, limit=2, beginning="ann_") for at in (0, 2, 4, 6)]
    assert [[one.session_id for one in page] for page in pages] == [
        ["ann_4", "ann_3"],
        ["ann_2", "ann_1"],
        ["ann_0"],
        [],
    ]


def test_a_replay_is_no_new_session(few: Ledger) -> None:
    """Where nothing more may be made, a replay still finds its job."""
    key = Idempotency("key", "f")
    first = few.create(job("a"), key)
    for session_id in "bc":
        few.create(job(session_id))
    assert few.create(job("d"), key).job_id == first.job_id


def test_jobs_without_a_session_do_not_count_until_it_is_named(few: Ledger, sessions: Sessions) -> None:
    """A farm that serves one-off jobs serves as many as it can; whoever goes on with one has a session."""
    for number in range(20):
        answered(few, f"s-{number}", names_session=False)
    assert sessions.count() == 0
    assert sessions.read("s-7").turns == 1
    for number in range(3):
        answered(few, f"s-{number}")
    with pytest.raises(SessionLimitReached):
        few.create(job("s-7"))
    assert sessions.count() == 3
    assert [session.turns for session in sessions.live()] == [2, 2, 2]


def test_a_sessions_time_begins_when_its_last_job_has_ended(few: Ledger, sessions: Sessions, own: redis.Redis) -> None:
    """With open jobs a session neither expires nor makes room; then it does, without anybody's doing."""
    for session_id in "abc":
        few.create(job(session_id))
    assert own.ttl(keys.session("a")) == -1
    assert own.zscore(keys.SESSIONS, "a") == float("inf")
    answered(few, "a")
    assert own.ttl(keys.session("a")) == -1  # its first job is still open
    few.cancel(own.lindex(keys.line("a"), 0))
    assert 590 < own.ttl(keys.session("a")) <= 600
    with pytest.raises(SessionLimitReached) as caught:
        sessions.open("d")
    assert 590 < caught.value.retry_after_s <= 600
    own.zincrby(keys.SESSIONS, -601, "a")
    own.delete(*keys.of_session("a")[:-1])
    assert sessions.count() == 2
    sessions.open("d")
    assert own.zscore(keys.SESSIONS, "a") is None


def test_many_at_once_do_not_exceed_the_limit(few: Ledger, sessions: Sessions) -> None:
    """Of fifty sessions that are wanted at the same moment three are made."""

    def wanted(number: int) -> bool:
        try:
            few.create(job(f"w-{number}"))
        except SessionLimitReached:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(wanted, range(50))) == 3
    assert sessions.count() == 3


def test_a_job_that_was_not_accepted_leaves_no_session(few: Ledger, sessions: Sessions) -> None:
    """Unless the session was there before."""
    for session_id in ("opened", "spoken", "new"):
        if session_id == "opened":
            sessions.open(session_id)
        if session_id == "spoken":
            answered(few, session_id)
        spec = job(session_id)
        few.create(spec)
        assert few.abandon(spec)
    assert {session.session_id for session in sessions.live()} == {"opened", "spoken"}
    assert sessions.count() == 2


def test_a_session_is_opened_once(sessions: Sessions) -> None:
    """Its name is taken until it is gone, and it begins empty."""
    sessions.open("mine")
    with pytest.raises(SessionExists):
        sessions.open("mine")
    session = sessions.read("mine")
    assert (session.turns, session.open_jobs, session.ended, session.memories) == (0, 0, 0, 0)
    assert session.created_at == session.last_activity
    assert sessions.history("mine") == []
    sessions.delete("mine")
    sessions.open("mine")


def test_live_sessions_come_in_pages(own: redis.Redis) -> None:
    """Those with open jobs first, then the one that was active last."""
    bounds = SessionBounds(live=9)
    ledger = Ledger(own, retention_s=600, session_s=600, bounds=bounds)
    sessions = Sessions(own, retention_s=600, session_s=600, bounds=bounds)
    for session_id in "abcd":
        answered(ledger, session_id)
    ledger.create(job("b"))
    assert [session.session_id for session in sessions.live()] == ["b", "d", "c", "a"]
    assert [session.session_id for session in sessions.live(offset=1, limit=2)] == ["d", "c"]
