"""Who holds a step: one at a time, as long as he renews, and nobody's late word counts."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from yard import LONG_AGO, Yard

from echo_tasks import keys
from echo_tasks.errors import LeaseLost
from echo_tasks.events import Events
from echo_tasks.leases import Claim, NothingToDo
from echo_tasks.messages import JobError, JobResult, Lease, StepOutput
from workers.leases import Leases

RESULT = JobResult(
    session_id="s", response_text="Hi.", processing_time_ms=1.0, membrane_outputs={}, cognitive_metadata={}
)


def taken_over(yard: Yard, job_id: str, step: str = "memory") -> tuple[Lease, Lease]:
    """The lease of a worker that froze, and that of the one that has the step now."""
    frozen = yard.held(job_id, step)
    yard.wait()
    yard.reap()
    return frozen, yard.held(job_id, step)


def test_of_many_claimers_one_has_the_step(yard: Yard) -> None:
    """However often a message is delivered at once, one delivery runs."""
    job_id = yard.published().job_id
    with ThreadPoolExecutor(16) as pool:
        claims = list(pool.map(lambda _: yard.ledger.steps.claim(job_id, "memory"), range(50)))
    assert sum(isinstance(claim, Claim) for claim in claims) == 1
    assert claims.count(NothingToDo("leased")) == 49
    assert yard.ledger.read(job_id).attempts == 1


def test_a_claim_whose_answer_was_lost_is_answered_again(yard: Yard) -> None:
    """The client's library repeats a call over a new connection: it is the same delivery."""
    script = yard.ledger.steps._claim
    job_id = yard.published().job_id
    call = {
        "keys": [keys.job(job_id), keys.events(job_id), *keys.of_steps()],
        "args": ["memory", job_id, keys.WAKE_CHANNEL, 100, 6, "n", "one call", 1, 1, 30],
    }
    first, second = script(**call), script(**call)
    assert (first[0], second[0]) == ("run", "run")
    assert (first[2] != "", second[2]) == (True, "")  # when its message was published is known once
    assert yard.ledger.read(job_id).attempts == 1


def test_a_claim_knows_how_long_its_message_has_waited(yard: Yard) -> None:
    """Since it was published last, whatever came before that."""
    job_id = yard.published().job_id
    name = keys.PUBLISHED + "memory:1"
    ((member, published_at),) = yard.broker.zrange(name, 0, -1, withscores=True)
    yard.broker.zadd(name, {member: published_at - 100})
    claim = yard.ledger.steps.claim(job_id, "memory")
    assert isinstance(claim, Claim)
    assert claim.waited_s is not None
    assert 100 <= claim.waited_s < 160
    yard.wait()
    yard.reap()
    again = yard.ledger.steps.claim(job_id, "memory")
    assert isinstance(again, Claim)
    assert again.waited_s is not None
    assert 0 <= again.waited_s < 60


def test_a_claim_of_a_message_that_nobody_published_has_not_waited(yard: Yard) -> None:
    """Such as one whose answer was lost: that it waited was told once, and no time is told twice."""
    job_id = yard.published().job_id
    yard.broker.delete(keys.PUBLISHED + "memory:1")
    claim = yard.ledger.steps.claim(job_id, "memory")
    assert isinstance(claim, Claim)
    assert claim.waited_s is None


def test_a_worker_is_sure_of_a_lease_for_as_long_as_it_was_renewed(yard: Yard) -> None:
    """Not after that, and again after the next renewal."""
    claim = yard.ledger.steps.claim(yard.published().job_id, "memory")
    assert isinstance(claim, Claim)
    leases = Leases(yard.ledger.steps)
    with leases.held(replace(claim, held_until=0.0), threading.Event()):
        assert not leases.holds(claim.lease)
        leases.renew()
        assert leases.holds(claim.lease)
    assert not leases.holds(claim.lease)


def test_the_token_grows_with_every_delivery(yard: Yard) -> None:
    """A successor's token is higher than that of whoever had the step before."""
    frozen, successor = taken_over(yard, yard.published().job_id)
    assert (frozen.token, successor.token) == (1, 2)


def test_a_lease_lasts_until_it_is_renewed_no_more(yard: Yard) -> None:
    """Renewed, it is left alone; expired, it is the reaper's, and its holder is told."""
    lease = yard.held(yard.published().job_id)
    yard.broker.zadd(keys.LEASES, {f"{lease.job_id}.memory": LONG_AGO})
    assert yard.ledger.steps.renew([lease]) == set()
    yard.reap()
    assert yard.ledger.steps.claim(lease.job_id, "memory") == NothingToDo("leased")
    yard.wait()
    yard.reap()
    assert yard.ledger.steps.renew([lease]) == {lease}
    assert isinstance(yard.ledger.steps.claim(lease.job_id, "memory"), Claim)


def test_renewal_tells_those_of_ended_and_unknown_jobs(yard: Yard) -> None:
    """One script renews many; who is not among the living learns it."""
    running, cancelled = (yard.held(yard.published().job_id) for _ in range(2))
    unknown = Lease("unknown", "memory", 1)
    yard.ledger.cancel(cancelled.job_id)
    assert yard.ledger.steps.renew([running, cancelled, unknown]) == {cancelled, unknown}
    assert yard.broker.zrange(keys.LEASES, 0, -1) == [f"{running.job_id}.memory"]


def test_a_frozen_worker_can_neither_record_nor_end_nor_stream(yard: Yard) -> None:
    """Its successor's output is the step's; before that, nothing of it is taken either."""
    job_id = yard.published().job_id
    frozen, successor = taken_over(yard, job_id)
    with pytest.raises(LeaseLost):
        yard.ledger.steps.record(frozen, StepOutput(text="late"))
    assert Events(yard.broker).append({frozen: "late", successor: ""}) == {frozen}
    assert yard.ledger.steps.renew([frozen, successor]) == {frozen}
    assert not yard.ledger.steps.hand_back(frozen)
    assert not yard.ledger.steps.postpone(frozen, 1)
    yard.ledger.steps.record(successor, StepOutput(text="good"))
    with pytest.raises(LeaseLost):
        yard.ledger.steps.record(frozen, StepOutput(text="later"))
    claim = yard.ledger.steps.claim(job_id, keys.INTEGRATION)
    assert isinstance(claim, Claim)
    assert claim.outputs["memory"].text == "good"


def test_a_frozen_integration_cannot_end_the_job(yard: Yard) -> None:
    """Neither with an answer nor with an error; its successor can, once."""
    spec = yard.published()
    yard.ledger.steps.record(yard.held(spec.job_id), StepOutput(text="m"))
    frozen, successor = taken_over(yard, spec.job_id, keys.INTEGRATION)
    with pytest.raises(LeaseLost):
        yard.ledger.succeed(spec, RESULT, frozen)
    with pytest.raises(LeaseLost):
        yard.ledger.fail(spec, JobError(reason="late"), frozen)
    assert yard.ledger.succeed(spec, RESULT, successor)
    assert not yard.ledger.succeed(spec, RESULT, successor)
    assert not yard.ledger.succeed(spec, RESULT, frozen)
    assert yard.tracked() == set()


def test_a_step_that_was_reaped_is_nobodys_until_it_is_claimed(yard: Yard) -> None:
    """Between the reaper and the next claim the frozen worker's word does not count either."""
    lease = yard.held(yard.published().job_id)
    yard.wait()
    yard.reap()
    with pytest.raises(LeaseLost):
        yard.ledger.steps.record(lease, StepOutput(text="late"))


def test_what_a_successor_says_comes_after_the_restart(yard: Yard) -> None:
    """A follower of the events sees the restart, and no token of the fenced run behind it."""
    job_id = yard.published().job_id
    frozen = yard.held(job_id)
    events = Events(yard.broker)
    events.append({frozen: "void"})
    yard.wait()
    yard.reap()
    successor = yard.held(job_id)
    events.append({frozen: "late"})
    events.append({successor: "good"})
    seen = [json.loads(event.data) for event in events.read(job_id)]
    assert seen[-2:] == [{"status": "running", "restarted": "memory"}, {"membrane": "memory", "text": "good"}]


def test_a_step_that_is_handed_back_is_free_at_once(yard: Yard) -> None:
    """Its message waits again, and its next delivery runs; nobody died."""
    lease = yard.held(yard.published().job_id)
    assert yard.ledger.steps.hand_back(lease)
    assert yard.held(lease.job_id).token == 2
    assert yard.broker.hget(keys.job(lease.job_id), "deaths:memory") is None


def test_a_postponed_step_is_not_run_before_its_time(yard: Yard) -> None:
    """A message that is delivered twice does not cut the pause short."""
    lease = yard.held(yard.published().job_id)
    assert yard.ledger.steps.postpone(lease, 60)
    assert yard.ledger.steps.claim(lease.job_id, "memory") == NothingToDo("delayed")
    assert yard.tracked() == {f"{lease.job_id}.memory"}


def test_an_ended_job_is_tracked_no_more(yard: Yard) -> None:
    """Wherever its steps are, a cancelled job leaves nothing to see to, nor does its session's deletion."""
    specs = [yard.published(membranes=["memory", "grammar"], timeout_s=60) for _ in range(2)]
    for spec in specs:
        yard.held(spec.job_id)
    yard.ledger.cancel(specs[0].job_id)
    assert yard.tracked() == {specs[1].job_id, f"{specs[1].job_id}.memory", f"{specs[1].job_id}.grammar"}
    yard.ledger.cancel(specs[1].job_id)
    assert yard.tracked() == set()


def test_nothing_stays_without_a_time_to_live(yard: Yard) -> None:
    """When all jobs have ended, all that is left of them expires, but for what is bounded."""
    spec = yard.published(timeout_s=60)
    yard.ledger.steps.record(yard.held(spec.job_id), StepOutput(text="m"))
    yard.ledger.succeed(spec, RESULT, yard.held(spec.job_id, keys.INTEGRATION))
    yard.take(), yard.take(keys.INTEGRATION)
    bounded = {keys.COUNTS, keys.CLAIMED, keys.SESSIONS, keys.MEMORY_COUNTS}
    left = {name for name in yard.broker.scan_iter("echo:*") if yard.broker.ttl(name) == -1}
    assert left <= bounded


def test_a_step_that_comes_again_waits_in_the_lane_of_its_message(yard: Yard) -> None:
    """Before all others: where its message is, there it is looked for when that is lost."""
    job_id = yard.published().job_id
    yard.held(job_id)
    yard.wait()
    yard.reap()
    lanes = {priority: yard.broker.zrange(keys.lane("memory", priority), 0, -1) for priority in (1, keys.HIGHEST)}
    assert lanes == {1: [], keys.HIGHEST: [f"{job_id}.memory"]}
    assert yard.broker.llen(keys.waiting("memory", keys.HIGHEST)) == 1
