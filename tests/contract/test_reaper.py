"""The reaper: whatever is lost, whoever dies, every job that was accepted goes on to its end."""

from __future__ import annotations

import json

import pytest
from yard import LONG_AGO, Yard

from echo_tasks import keys
from echo_tasks.answers import Flight
from echo_tasks.errors import LetterNotFound
from echo_tasks.events import Events
from echo_tasks.leases import Claim, NothingToDo
from echo_tasks.messages import JobError, JobResult, JobStatus, StepOutput
from echo_tasks.recovery import MAX_LOSSES

RESULT = JobResult(
    session_id="s", response_text="Hi.", processing_time_ms=1.0, membrane_outputs={}, cognitive_metadata={}
)


def test_a_dead_workers_step_is_published_again_before_all_others(yard: Yard) -> None:
    """It has waited already: it goes to the front, and runs when it is claimed."""
    others = [yard.published(priority=9).job_id for _ in range(2)]
    spec = yard.published(priority=1)
    yard.held(spec.job_id)
    yard.take()
    for job_id in others:
        yard.publisher.publish(job_id, ["memory"], 9)
    yard.broker.zadd(keys.LEASES, {f"{spec.job_id}.memory": LONG_AGO})
    yard.reap()
    assert yard.take() == [spec.job_id, *others]
    assert yard.held(spec.job_id).token == 2


def test_leases_are_judged_only_in_touch(yard: Yard) -> None:
    """After an outage of the broker, or of the reaper, holders have a lease's time to renew."""
    clock = [0.0]
    reaper = yard.a_reaper(grace_s=6, clock=lambda: clock[0])
    yard.held(yard.published().job_id)
    yard.take()
    yard.broker.zadd(keys.LEASES, dict.fromkeys(yard.broker.zrange(keys.LEASES, 0, -1), LONG_AGO))

    def published_by(seconds: float) -> list[str]:
        while clock[0] < seconds:
            clock[0] += 1
            reaper.round()
        return yard.take()

    assert published_by(5) == []
    clock[0] += 60  # it was frozen, or the broker was away
    assert published_by(70) == []
    assert len(published_by(72)) == 1


@pytest.mark.parametrize("moment", ["create", "release", "publish"])
def test_a_job_whose_maker_died_is_dispatched(yard: Yard, moment: str) -> None:
    """Between the record and the messages, at any point, or when these are lost on their way to a worker."""
    spec = yard.accepted(membranes=["memory", "grammar"])
    if moment != "create":
        yard.ledger.release(spec.session_id)
    if moment == "publish":
        yard.publisher.publish(spec.job_id, spec.membranes, spec.priority)
        yard.take(), yard.take("grammar")
    yard.reap()
    assert (yard.take(), yard.take("grammar")) == ([], [])  # they may still be on their way
    yard.wait()
    yard.reap()
    assert (yard.take(), yard.take("grammar")) == ([spec.job_id], [spec.job_id])


def test_integration_that_was_never_published_is(yard: Yard) -> None:
    """A worker died between the last membrane's record and the message."""
    spec = yard.published()
    yard.ledger.steps.record(yard.held(spec.job_id), StepOutput(text="m"))
    yard.wait()
    yard.reap()
    assert yard.take(keys.INTEGRATION) == [spec.job_id]


def test_a_sessions_next_turn_is_let_go(yard: Yard) -> None:
    """A worker died between a job's end and the next job's dispatch."""
    first = yard.published()
    second = yard.published(session_id=first.session_id)
    yard.take()
    yard.ledger.succeed(first, RESULT)
    yard.wait()
    yard.reap()
    assert yard.take() == [second.job_id]
    assert isinstance(yard.ledger.steps.claim(second.job_id, "memory"), Claim)


def test_one_behind_an_abandoned_job_is_let_go(yard: Yard) -> None:
    """The API died after it had taken a job back that others waited behind."""
    first = yard.published()
    second = yard.published(session_id=first.session_id)
    yard.take()
    assert yard.ledger.abandon(first)
    yard.wait()
    yard.reap()
    assert yard.take() == [second.job_id]


def test_messages_that_wait_in_line_are_left_alone(yard: Yard) -> None:
    """However old they are: nobody has overtaken them."""
    jobs = [yard.published().job_id for _ in range(3)]
    yard.wait()
    yard.reap()
    assert yard.take() == jobs


def test_a_message_that_was_overtaken_is_lost(yard: Yard) -> None:
    """A later one of the same queue and priority was claimed; those behind that one still wait."""
    lost, later, last = (yard.published().job_id for _ in range(3))
    lane = keys.lane("memory", 1)
    for age, job_id in ((30, lost), (20, later), (10, last)):
        yard.broker.zincrby(lane, -age, f"{job_id}.memory")
    yard.broker.rpop(keys.waiting("memory", 1))
    yard.reap()
    assert yard.take() == [later, last]
    yard.publisher.publish(last, ["memory"], 1)
    yard.held(later)
    yard.reap()
    assert yard.take() == [lost, last]


def test_a_message_overtaken_by_a_more_urgent_one_still_waits(yard: Yard) -> None:
    """Priorities are lines of their own."""
    slow, urgent = yard.published().job_id, yard.published(priority=10).job_id
    yard.broker.zadd(keys.lane("memory", 1), {f"{slow}.memory": LONG_AGO})
    yard.held(urgent)
    yard.reap()
    assert yard.take() == [urgent, slow]


def test_those_who_follow_a_job_that_is_gone_go_on(yard: Yard) -> None:
    """Its end was not passed on, or its record is gone: they have its answer, or run."""
    flight = Flight("key", ())
    leader, answered = yard.accepted(), yard.accepted()
    for spec in (leader, answered):
        yard.ledger.release(spec.session_id)
        yard.ledger.flights.lead(spec, flight)
    assert yard.tracked() == {f"{leader.job_id}.memory", f"{answered.job_id}.dispatch"}
    yard.wait()
    yard.reap()
    assert yard.ledger.read(answered.job_id).status is JobStatus.QUEUED
    yard.ledger.succeed(leader, RESULT)
    yard.wait()
    yard.reap()
    assert yard.ledger.read(answered.job_id).status is JobStatus.SUCCEEDED
    leader, runs = yard.accepted(), yard.accepted()
    for spec in (leader, runs):
        yard.ledger.release(spec.session_id)
        yard.ledger.flights.lead(spec, flight)
    yard.broker.delete(keys.job(leader.job_id))
    yard.take()
    yard.wait()
    yard.reap()
    assert runs.job_id in yard.take()


def test_what_is_postponed_is_published_when_it_is_due(yard: Yard) -> None:
    """Not before, and once."""
    lease = yard.held(yard.published().job_id)
    yard.take()
    yard.ledger.steps.postpone(lease, 60)
    yard.reap()
    assert yard.take() == []
    yard.broker.zadd(keys.DELAYED, {f"{lease.job_id}.memory": LONG_AGO})
    yard.reap()
    assert yard.take() == [lease.job_id]
    claim = yard.ledger.steps.claim(lease.job_id, "memory")
    assert isinstance(claim, Claim)
    assert claim.faults == 1


@pytest.mark.parametrize("running", [False, True])
def test_a_job_past_its_deadline_fails(yard: Yard, running: bool) -> None:
    """Queued or running, with a reason; its session's next job goes, and the runner is told."""
    spec = yard.published(timeout_s=5)
    behind = yard.published(session_id=spec.session_id)
    lease = yard.held(spec.job_id) if running else None
    yard.take()
    yard.reap()
    assert not yard.ledger.read(spec.job_id).status.ended
    yard.broker.zadd(keys.DEADLINES, {spec.job_id: LONG_AGO})
    yard.reap()
    job = yard.ledger.read(spec.job_id)
    assert (job.status, job.error and job.error.reason) == (JobStatus.FAILED, "not answered within timeout_s=5")
    assert yard.take() == [behind.job_id]
    if lease:
        assert yard.ledger.steps.renew([lease]) == {lease}


def test_a_job_past_its_deadline_fails_in_its_sessions_line(yard: Yard) -> None:
    """Before its turn, and without holding up whoever is before or behind it."""
    first = yard.published()
    late, behind = (yard.published(session_id=first.session_id, timeout_s=seconds) for seconds in (5, 500))
    yard.take()
    yard.broker.zadd(keys.DEADLINES, {late.job_id: LONG_AGO})
    yard.reap()
    assert yard.ledger.read(late.job_id).status is JobStatus.FAILED
    assert yard.take() == []
    yard.ledger.succeed(first, RESULT)
    yard.dispatcher.advance(first.session_id)
    assert yard.take() == [behind.job_id]


def test_a_claim_tells_how_long_the_job_has(yard: Yard) -> None:
    """The time in line counts; a job without a timeout has for ever."""
    job_id = yard.published(timeout_s=100).job_id
    yard.broker.hincrbyfloat(keys.job(job_id), "deadline", -90)
    bounded, unbounded = (yard.ledger.steps.claim(id_, "memory") for id_ in (job_id, yard.published().job_id))
    assert isinstance(bounded, Claim)
    assert isinstance(unbounded, Claim)
    assert bounded.deadline - bounded.held_until < 10
    assert unbounded.deadline == float("inf")


def die(yard: Yard, job_id: str, node: str) -> None:
    """A worker takes the job's step, and dies of it."""
    yard.held(job_id, node=node)
    yard.take()
    yard.broker.zadd(keys.LEASES, {f"{job_id}.memory": LONG_AGO})
    yard.reap()  # its last try comes when no other step is at its own


def test_a_poison_job_is_given_up(yard: Yard) -> None:
    """After so many deaths it fails, says why, and is a dead letter; its session's next job goes."""
    spec = yard.published(input_text="Poison.")
    behind = yard.published(session_id=spec.session_id)
    for number in range(3):
        assert yard.ledger.read(spec.job_id).status is not JobStatus.FAILED
        die(yard, spec.job_id, f"w{number}@test")
    job = yard.ledger.read(spec.job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "3 times" in job.error.reason
    (letter,) = yard.letters.page()
    assert (letter.spec.input_text, letter.step, letter.deliveries, letter.node) == ("Poison.", "memory", 3, "w2@test")
    assert letter.reason == job.error.reason
    assert yard.take() == [behind.job_id]
    assert [event.is_last for event in Events(yard.broker).read(spec.job_id)].count(True) == 1


def test_last_tries_are_one_at_a_time(yard: Yard) -> None:
    """Jobs that died together do not die together for good: whoever is not the poison ends meanwhile."""
    jobs = [yard.published().job_id for _ in range(3)]
    for _ in range(2):
        leases = [yard.held(job_id) for job_id in jobs]
        yard.take()
        yard.broker.zadd(keys.LEASES, {f"{lease.job_id}.memory": LONG_AGO for lease in leases})
        yard.reap()
    done = []
    while len(done) < 3:
        yard.reap()
        (job_id,) = yard.take()
        waiting = next(other for other in jobs if other != job_id and other not in done) if len(done) < 2 else None
        if waiting:
            assert yard.ledger.steps.claim(waiting, "memory") == NothingToDo("delayed")  # a message delivered twice
        lease = yard.held(job_id)
        yard.reap()
        assert yard.take() == []
        if done:
            yard.ledger.steps.record(lease, StepOutput(text="m"))
        else:
            yard.broker.zadd(keys.LEASES, {f"{job_id}.memory": LONG_AGO})
            yard.reap()
        done.append(job_id)
    statuses = [yard.ledger.read(job_id).status for job_id in done]
    assert statuses == [JobStatus.FAILED, JobStatus.RUNNING, JobStatus.RUNNING]


def test_hand_backs_are_no_deaths(yard: Yard) -> None:
    """A step that stopping workers gave back a hundred times is delivered a hundred and first time."""
    job_id = yard.published().job_id
    for _ in range(10):
        yard.ledger.steps.hand_back(yard.held(job_id))
    for number in range(2):
        die(yard, job_id, f"w{number}@test")
    assert yard.held(job_id).token == 13
    assert yard.letters.page() == []


def test_a_step_that_nobody_takes_is_given_up(yard: Yard) -> None:
    """Whoever takes its messages does nothing, such as a worker that was told to revoke the task."""
    job_id = yard.published().job_id
    for _ in range(MAX_LOSSES):
        yard.take()
        yard.wait()
        yard.reap()
    assert yard.ledger.read(job_id).status is JobStatus.FAILED
    assert yard.letters.read(job_id).deliveries == 0


def test_a_message_that_was_just_taken_is_not_lost(yard: Yard) -> None:
    """It is on its way from the queue to its claim when the reaper looks."""
    job_id = yard.published().job_id
    yard.broker.zadd(keys.lane("memory", 1), {f"{job_id}.memory": LONG_AGO})
    yard.take()
    yard.reaper.round()
    yard.held(job_id)
    yard.reaper.round()
    assert yard.take() == []


def test_one_reaps_and_another_takes_over(yard: Yard) -> None:
    """While one reigns the others stand by; when it is gone the next one does what it left."""
    first, second = yard.a_reaper(), yard.a_reaper()
    assert [first.round(), second.round(), first.round()] == [True, False, True]
    lease = yard.held(yard.published().job_id)
    yard.take()
    yard.wait()
    assert not second.round()
    yard.broker.delete(keys.REAPER)  # its time is over
    assert second.round()
    assert yard.take() == [lease.job_id]
    assert not first.round()
    second.stop()
    assert first.round()
    second.stop()  # not its to end
    assert not second.round()


def test_a_reaper_that_died_after_its_note_is_made_good(yard: Yard) -> None:
    """Between taking a step from its holder and publishing it: the next one finds the message missing."""
    lease = yard.held(yard.published().job_id)
    yard.take()
    yard.wait()
    yard.reaper._requeue(keys=keys.of_steps(), args=[keys.job(""), 10, 3, lease.job_id, "memory", "1", ""])
    yard.wait()
    yard.reap()
    assert yard.take() == [lease.job_id]
    assert yard.broker.hget(keys.job(lease.job_id), "deaths:memory") == "1"


def test_jobs_that_are_gone_are_forgotten(yard: Yard) -> None:
    """What a lost record leaves behind is cleared away, and nothing is made of it."""
    specs = [yard.published(timeout_s=60), yard.accepted(timeout_s=60)]
    yard.held(yard.published().job_id)
    for name in yard.broker.scan_iter("echo:job:*"):
        yard.broker.delete(name)
    yard.take()
    yard.wait()
    yard.reap()
    assert yard.tracked() == set()
    assert [yard.broker.exists(keys.job(spec.job_id)) for spec in specs] == [0, 0]


def test_sessions_past_their_time_leave_the_index(yard: Yard) -> None:
    """Nobody needs to open one for that."""
    yard.broker.zadd(keys.SESSIONS, {"over": LONG_AGO, "busy": "inf"})
    yard.reap()
    assert yard.broker.zrange(keys.SESSIONS, 0, -1) == ["busy"]


def test_a_letter_is_replayed_once_and_goes(yard: Yard) -> None:
    """The same request as a new job of the same session, which says whose; twice at once is one job."""
    spec = yard.published(input_text="Again?", priority=4, options={"seed": 7}, tags=["a"])
    for number in range(3):
        die(yard, spec.job_id, f"w{number}@test")
    replay = yard.letters.replay(spec.job_id)
    job = yard.ledger.read(replay.job_id)
    assert (job.session_id, job.priority, job.replay_of) == (spec.session_id, 4, spec.job_id)
    unlike = {"job_id", "replay_of", "past"}
    assert yard.ledger.spec(replay.job_id).model_dump(exclude=unlike) == spec.model_dump(exclude=unlike)
    assert yard.take() == [replay.job_id]
    with pytest.raises(LetterNotFound):
        yard.letters.replay(spec.job_id)
    assert yard.letters.count() == 0


def test_a_letter_can_be_discarded(yard: Yard) -> None:
    """It is read by its job's id until then."""
    spec = yard.published()
    for number in range(3):
        die(yard, spec.job_id, f"w{number}@test")
    assert yard.letters.read(spec.job_id).spec.job_id == spec.job_id
    yard.letters.discard(spec.job_id)
    for call in (yard.letters.read, yard.letters.discard):
        with pytest.raises(LetterNotFound, match=spec.job_id):
            call(spec.job_id)


def test_the_list_of_letters_is_bounded(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first, with what was kept of them."""
    monkeypatch.setattr("echo_tasks.ledger.DEAD_LETTERS_KEPT", 2)
    jobs = [yard.published().job_id for _ in range(3)]
    for job_id in jobs:
        for number in range(3):
            die(yard, job_id, f"w{number}@test")
    assert [letter.spec.job_id for letter in yard.letters.page()] == [jobs[2], jobs[1]]
    assert [letter.spec.job_id for letter in yard.letters.page(offset=1, limit=1)] == [jobs[1]]
    assert yard.broker.hlen(keys.LETTERS) == 2


def test_the_restart_is_told_once_a_delivery(yard: Yard) -> None:
    """The second delivery and every later one."""
    job_id = yard.published().job_id
    for number in range(2):
        die(yard, job_id, f"w{number}@test")
    yard.held(job_id)
    told = [json.loads(event.data) for event in Events(yard.broker).read(job_id)]
    assert told.count({"status": "running", "restarted": "memory"}) == 2


def test_a_job_that_ended_meanwhile_is_not_given_up(yard: Yard) -> None:
    """A job ends once: what the reaper saw before is no reason."""
    spec = yard.published()
    yard.held(spec.job_id)
    yard.ledger.fail(spec, JobError(reason="otherwise"))
    yard.wait()
    yard.reap()
    error = yard.ledger.read(spec.job_id).error
    assert error is not None
    assert error.reason == "otherwise"
    assert yard.letters.page() == []
