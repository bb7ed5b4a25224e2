"""What an owner may have: exact under races, given back when jobs end, and nobody else's business."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from yard import Yard

from echo_tasks import keys
from echo_tasks.access.quotas import Account
from echo_tasks.errors import QuotaSpent
from echo_tasks.leases import Claim
from echo_tasks.ledger import Idempotency, Ledger
from echo_tasks.messages import DeadLetter, JobError, JobResult, JobSpec, Lease, StepOutput, Usage
from echo_tasks.sessions import Sessions


def account(**bounds: int) -> Account:
    return Account(uuid.uuid4().hex[:10], **bounds)


def job(**fields: Any) -> JobSpec:
    ids = {"job_id": uuid.uuid4().hex, "session_id": uuid.uuid4().hex}
    return JobSpec.model_validate(ids | {"input_text": "Hello.", "membranes": ["memory"]} | fields)


def a_result(spec: JobSpec, **usage: int) -> JobResult:
    return JobResult(
        session_id=spec.session_id,
        response_text="Hi.",
        processing_time_ms=1.0,
        membrane_outputs={},
        cognitive_metadata={},
        usage=Usage(**usage),
    )


def test_open_jobs_count_until_they_end_however_they_do(ledger: Ledger, broker: redis.Redis) -> None:
    """Answered, failed, cancelled, deleted with their session, or never accepted."""
    mine, specs = account(open_jobs=5), [job() for _ in range(5)]
    for spec in specs:
        ledger.create(spec, account=mine)
    with pytest.raises(QuotaSpent, match="5 open jobs") as caught:
        ledger.create(job(), account=mine)
    assert caught.value.retry_after_s >= 1
    ledger.create(job(), account=account(open_jobs=1))  # another owner's
    ledger.create(job())  # nobody's
    for spec in specs[:2]:
        ledger.release(spec.session_id)
    ledger.succeed(specs[0], a_result(specs[0]))
    ledger.fail(specs[1], JobError(reason="of a test"))
    ledger.cancel(specs[2].job_id)
    Sessions(broker, retention_s=60, session_s=60).delete(specs[3].session_id)
    ledger.abandon(specs[4])
    assert not broker.exists(keys.open_of(mine.owner))
    for _ in range(5):
        ledger.create(job(), account=mine)
    with pytest.raises(QuotaSpent):
        ledger.create(job(), account=mine)


def test_many_at_once_do_not_exceed_a_quota(ledger: Ledger) -> None:
    """Thirty-two threads, five places."""
    mine = account(open_jobs=5, jobs_per_day=100)

    def comes_in(_: int) -> bool:
        try:
            return ledger.create(job(), account=mine).is_new
        except QuotaSpent:
            return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(comes_in, range(32))) == 5


def test_a_days_jobs_are_those_that_were_accepted(ledger: Ledger, broker: redis.Redis) -> None:
    """Neither those that were refused, or taken back, nor a replay count; another day begins anew."""
    mine = account(jobs_per_day=3)
    key = Idempotency("k", "f", mine.owner)
    first = ledger.create(job(), key, account=mine)
    ledger.abandon(spec := job())  # it was never there
    ledger.create(spec, account=mine)
    ledger.abandon(spec)
    for _ in range(2):
        ledger.create(job(), account=mine)
    assert ledger.create(job(), key, account=mine).job_id == first.job_id
    with pytest.raises(QuotaSpent, match="3 jobs a day") as caught:
        ledger.create(job(), account=mine)
    seconds, _ = broker.time()
    assert caught.value.retry_after_s == pytest.approx(86400 - seconds % 86400, abs=2)
    broker.hincrby(keys.spent(mine.owner), "day", -1)
    assert ledger.create(job(), account=mine).is_new
    assert broker.hget(keys.spent(mine.owner), "jobs") == "1"
    assert 0 < broker.ttl(keys.spent(mine.owner)) <= 86400


def test_a_days_tokens_are_those_of_answers(ledger: Ledger, broker: redis.Redis) -> None:
    """Read and generated; the job with which they are spent is answered, and the next one refused."""
    mine = account(tokens_per_day=100)
    for _ in range(2):
        ledger.create(spec := job(), account=mine)
        ledger.succeed(spec, a_result(spec, prompt_tokens=30, cached_tokens=10, completion_tokens=30))
    assert broker.hget(keys.spent(mine.owner), "tokens") == "120"
    with pytest.raises(QuotaSpent, match="100 tokens a day"):
        ledger.create(job(), account=mine)


def test_tokens_of_jobs_without_an_answer_count_too(ledger: Ledger, broker: redis.Redis) -> None:
    """What its membranes have left, however it ended; and what a step had taken that ended with it, once."""
    mine, sessions, output = (
        account(),
        Sessions(broker, retention_s=60, session_s=60),
        StepOutput(usage=Usage(prompt_tokens=5)),
    )
    ends: list[Callable[[JobSpec], object]] = [
        lambda spec: ledger.cancel(spec.job_id),
        lambda spec: ledger.fail(spec, JobError(reason="of a test")),
        lambda spec: sessions.delete(spec.session_id),
    ]
    for number, end in enumerate(ends, 1):
        ledger.create(spec := job(membranes=["memory", "grammar"]), account=mine)
        ledger.release(spec.session_id)
        memory, grammar = (ledger.steps.claim(spec.job_id, step) for step in spec.membranes)
        assert isinstance(memory, Claim)
        assert isinstance(grammar, Claim)
        ledger.steps.record(memory.lease, output)
        end(spec)
        assert not ledger.steps.record(grammar.lease, output).is_kept
        for token in (grammar.lease.token - 1, grammar.lease.token, grammar.lease.token):  # first, who lost the step
            ledger.steps.charge(grammar.lease._replace(token=token), 7)
        ledger.steps.charge(memory.lease, 7)  # which its record was charged for
        assert broker.hget(keys.spent(mine.owner), "tokens") == str(12 * number)
    ledger.create(spec := job(), account=mine)
    ledger.release(spec.session_id)
    claim = ledger.steps.claim(spec.job_id, "memory")
    assert isinstance(claim, Claim)
    ledger.succeed(spec, a_result(spec, prompt_tokens=4))
    ledger.steps.charge(claim.lease, 7)  # who has ended it, and had no answer of that
    assert broker.hget(keys.spent(mine.owner), "tokens") == "40"
    ledger.steps.charge(Lease("0" * 32, "memory", 1), 7)  # gone
    assert not broker.exists(keys.job("0" * 32))


def test_live_sessions_are_counted_for_their_owner_alone(ledger: Ledger, broker: redis.Redis) -> None:
    """Those that he named, by opening, forking or a job; until they go. One that lives is no new one."""
    sessions, mine = Sessions(broker, retention_s=60, session_s=60), account(sessions=2)

    def named(name: str) -> str:
        return mine.beginning + name

    sessions.open(named("a"), mine)
    ledger.create(job(session_id=named("b")), account=mine)
    ledger.create(job(session_id=named("b")), account=mine)
    ledger.create(job(session_id=named("s-1")), account=mine, names_session=False)
    for one_more in (
        lambda: sessions.open(named("c"), mine),
        lambda: sessions.fork(named("a"), 0, named("c"), mine),
        lambda: ledger.create(job(session_id=named("c")), account=mine),
    ):
        with pytest.raises(QuotaSpent, match="2 live sessions") as caught:
            one_more()
        assert 55 <= caught.value.retry_after_s <= 60
    other = account(sessions=1)
    sessions.open(f"{other.beginning}a", other)
    sessions.delete(named("a"))
    sessions.fork(named("b"), 0, named("c"), mine)


def test_jobs_that_an_older_process_ended_do_not_count_for_ever(ledger: Ledger, broker: redis.Redis) -> None:
    """It knows of no owners; at the bound whoever asks looks which jobs are really open."""
    mine = account(open_jobs=2)
    ledger.create(spec := job(), account=mine)
    ledger.create(job(), account=mine)
    broker.zrem(keys.OPEN_JOBS, spec.job_id)  # as an older script does, which leaves the owner's set alone
    assert ledger.create(job(), account=mine).is_new
    with pytest.raises(QuotaSpent):
        ledger.create(job(), account=mine)


def test_an_owner_is_in_the_record_and_not_in_the_spec(ledger: Ledger, broker: redis.Redis) -> None:
    """Workers of the version before refuse a spec with a field that they do not know."""
    mine = account()
    ledger.create(spec := job(), account=mine)
    record = broker.hgetall(keys.job(spec.job_id))
    assert ledger.read(spec.job_id).owner == record["owner"] == mine.owner
    assert mine.owner not in record["spec"]
    ledger.create(other := job())
    assert ledger.read(other.job_id).owner == ""


def test_idempotency_keys_are_each_owners_own(ledger: Ledger) -> None:
    """Two owners, and nobody, under one word; none learns of the others' jobs."""
    accounts = [account(), account(), Account()]
    made = [ledger.create(job(), Idempotency("same", "f", one.owner), account=one) for one in accounts]
    assert all(one.is_new for one in made)
    again = [ledger.create(job(), Idempotency("same", "f", one.owner), account=one) for one in accounts]
    assert [one.job_id for one in again] == [one.job_id for one in made]
    spoofed = Idempotency(f"{accounts[0].owner}:same", "f")
    assert ledger.create(job(), spoofed).is_new


def test_a_job_that_was_given_up_is_asked_for_again_in_its_owners_name(yard: Yard) -> None:
    """The letter knows whose it was, when the job's record is gone, too."""
    mine = account(jobs_per_day=1)
    yard.ledger.create(spec := job(), account=mine)
    letter = DeadLetter(spec=spec, reason="of a test", step="memory", deliveries=3, node="a@test", at=1.0)
    yard.ledger.fail(spec, JobError(reason="of a test"), letter=letter)
    yard.broker.delete(keys.job(spec.job_id))
    assert yard.letters.read(spec.job_id).owner == mine.owner
    again = yard.letters.replay(spec.job_id)
    assert yard.ledger.read(again.job_id).owner == mine.owner
