"""The ledger's promises: each change once, whoever asks, however often."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from measured import Since
from records import a_worker
from redis.exceptions import TimeoutError as RedisTimeoutError

from echo_tasks import connections, keys
from echo_tasks.errors import BrokerUnavailable, IdempotencyConflict, JobNotFound
from echo_tasks.events import Events
from echo_tasks.leases import Claim, NothingToDo
from echo_tasks.ledger import Idempotency, Ledger
from echo_tasks.messages import JobError, JobResult, JobSpec, JobStatus, Lease, Options, StepOutput
from echo_tasks.registry import Registry
from echo_tasks.sessions import Sessions


def new_spec(**changes: object) -> JobSpec:
    ids = {"job_id": uuid.uuid4().hex, "session_id": uuid.uuid4().hex}
    return JobSpec(**(ids | {"input_text": "Hello."} | changes))


def let_go(ledger: Ledger, spec: JobSpec) -> JobSpec:
    """Accept a job, which is its session's only one."""
    ledger.create(spec)
    assert ledger.release(spec.session_id) == spec
    return spec


@pytest.fixture
def spec(ledger: Ledger) -> JobSpec:
    return let_go(ledger, new_spec())


def held(ledger: Ledger, job_id: str, step: str) -> Lease:
    """The lease of a step that is claimed."""
    claim = ledger.steps.claim(job_id, step)
    assert isinstance(claim, Claim)
    return claim.lease


RESULT = JobResult(
    session_id="s", response_text="Hi.", processing_time_ms=1.0, membrane_outputs={}, cognitive_metadata={}
)


def test_a_new_job_is_queued_with_its_spec_and_an_event(ledger: Ledger, broker: redis.Redis) -> None:
    """A created job reads back as queued, is counted as open, and its stream begins with that status."""
    before = ledger.open_jobs()
    spec = new_spec(priority=7, options=Options(seed=2**63 - 1, stop=["\n"]))
    assert ledger.create(spec).is_new
    job = ledger.read(spec.job_id)
    assert (job.status, job.priority, job.attempts, job.started_at) == (JobStatus.QUEUED, 7, 0, None)
    assert ledger.open_jobs() == before + 1
    assert ledger.steps.claim(spec.job_id, "memory") == NothingToDo("early")
    assert ledger.release(spec.session_id) == spec
    assert [event.kind for event in Events(broker).read(spec.job_id)] == ["status"]
    claim = ledger.steps.claim(spec.job_id, "memory")
    assert isinstance(claim, Claim)
    assert claim.spec == spec


def test_an_open_job_never_expires_and_an_ended_one_does(ledger: Ledger, spec: JobSpec, broker: redis.Redis) -> None:
    """Retention starts with the end of the job, for its record and for its events."""
    assert broker.ttl(keys.job(spec.job_id)) == -1
    ledger.succeed(spec, RESULT)
    assert 0 < broker.ttl(keys.job(spec.job_id)) <= 600
    assert 0 < broker.ttl(keys.events(spec.job_id)) <= 600


def test_a_replay_under_a_key_finds_the_first_job(ledger: Ledger, broker: redis.Redis) -> None:
    """The same key and fingerprint return the first job, and tell whether its messages went out."""
    key = Idempotency(uuid.uuid4().hex, "fingerprint")
    first = ledger.create(new_spec(), key)
    replay = ledger.create(new_spec(), key)
    assert (first.is_new, replay.is_new, replay.job_id) == (True, False, first.job_id)
    assert not first.published
    assert replay.published  # or just now on its way, by the hand of the first
    broker.hincrbyfloat(keys.idempotency(key.key), "at", -10)
    assert not ledger.create(new_spec(), key).published  # its maker must have died
    ledger.mark_published(key)
    assert ledger.create(new_spec(), key).published


def test_a_key_lives_as_long_as_its_job(ledger: Ledger, broker: redis.Redis) -> None:
    """An open job's key does not expire; an ended job's does, with the job."""
    key, spec = Idempotency(uuid.uuid4().hex, "f"), new_spec()
    ledger.create(spec, key)
    assert broker.ttl(keys.idempotency(key.key)) == -1
    ledger.cancel(spec.job_id)
    assert 0 < broker.ttl(keys.idempotency(key.key)) <= 600


def test_an_abandoned_job_leaves_nothing_behind(ledger: Ledger, broker: redis.Redis) -> None:
    """A job that was not accepted is gone with its events, its place and its key; a started one stays."""
    key, spec = Idempotency(uuid.uuid4().hex, "f"), new_spec()
    ledger.create(spec, key)
    assert ledger.abandon(spec)
    assert not broker.exists(keys.job(spec.job_id), keys.events(spec.job_id), keys.idempotency(key.key))
    assert broker.zscore(keys.OPEN_JOBS, spec.job_id) is None
    assert ledger.create(new_spec(), key).is_new
    started = new_spec()
    let_go(ledger, started)
    ledger.steps.claim(started.job_id, "memory")
    assert not ledger.abandon(started)
    assert ledger.read(started.job_id).status is JobStatus.RUNNING


def test_a_key_with_another_body_is_refused(ledger: Ledger) -> None:
    """A used key with another fingerprint raises, names both, and makes no job."""
    key = Idempotency(uuid.uuid4().hex, "one")
    first = ledger.create(new_spec(), key)
    spec = new_spec()
    with pytest.raises(IdempotencyConflict, match=first.job_id):
        ledger.create(spec, Idempotency(key.key, "two"))
    with pytest.raises(JobNotFound):
        ledger.read(spec.job_id)


def test_many_replays_at_once_make_one_job(ledger: Ledger) -> None:
    """Fifty threads with one key: one of them makes the job."""
    key = Idempotency(uuid.uuid4().hex, "same")
    with ThreadPoolExecutor(16) as pool:
        created = list(pool.map(lambda _: ledger.create(new_spec(), key), range(50)))
    assert sum(c.is_new for c in created) == 1
    assert len({c.job_id for c in created}) == 1


def test_the_first_claim_starts_the_job(ledger: Ledger, spec: JobSpec) -> None:
    """Claims count deliveries; only the first sets the start."""
    ledger.steps.claim(spec.job_id, "memory")
    started = ledger.read(spec.job_id)
    ledger.steps.hand_back(Lease(spec.job_id, "memory", 1))
    ledger.steps.claim(spec.job_id, "memory")
    ledger.steps.claim(spec.job_id, "grammar")
    again = ledger.read(spec.job_id)
    assert started.status is JobStatus.RUNNING
    assert (started.attempts, again.attempts) == (1, 2)
    assert again.started_at == started.started_at is not None


def test_the_last_output_releases_integration_once(ledger: Ledger, spec: JobSpec) -> None:
    """Of three membranes recorded at once, in any order, exactly one is the last."""
    leases = [held(ledger, spec.job_id, membrane) for membrane in keys.MEMBRANES]
    with ThreadPoolExecutor(3) as pool:
        last = list(pool.map(lambda lease: ledger.steps.record(lease, StepOutput(text=lease.step)).is_last, leases))
    assert sorted(last) == [False, False, True]
    claim = ledger.steps.claim(spec.job_id, keys.INTEGRATION)
    assert isinstance(claim, Claim)
    assert {name: output.text for name, output in claim.outputs.items()} == {m: m for m in keys.MEMBRANES}


def test_integration_cannot_be_claimed_before_the_membranes_are_in(ledger: Ledger, spec: JobSpec) -> None:
    """A stray integration message finds nothing to do, and changes nothing."""
    ledger.steps.record(held(ledger, spec.job_id, "memory"), StepOutput(text="m"))
    before = ledger.read(spec.job_id)
    assert ledger.steps.claim(spec.job_id, keys.INTEGRATION) == NothingToDo("early")
    assert ledger.read(spec.job_id) == before


def test_a_second_output_of_a_membrane_is_dropped(ledger: Ledger) -> None:
    """The first writer wins; a caller who asks again, since the answer was lost, gets the same answer."""
    spec = let_go(ledger, new_spec(membranes=["memory"]))
    lease = held(ledger, spec.job_id, "memory")
    assert ledger.steps.record(lease, StepOutput(text="first")) == (True, True)
    assert ledger.steps.record(lease, StepOutput(text="second")) == (True, True)
    claim = ledger.steps.claim(spec.job_id, keys.INTEGRATION)
    assert isinstance(claim, Claim)
    assert claim.outputs["memory"].text == "first"


def test_a_redelivered_last_membrane_says_that_integration_may_go(ledger: Ledger) -> None:
    """A worker that died between its record and the integration message is made good by the redelivery."""
    spec = let_go(ledger, new_spec(membranes=["memory", "grammar"]))
    ledger.steps.record(held(ledger, spec.job_id, "memory"), StepOutput())
    assert ledger.steps.claim(spec.job_id, "memory") == NothingToDo("recorded", membranes_done=False)
    ledger.steps.record(held(ledger, spec.job_id, "grammar"), StepOutput())
    assert ledger.steps.claim(spec.job_id, "grammar") == NothingToDo("recorded", membranes_done=True)


def test_a_job_ends_once(ledger: Ledger, spec: JobSpec, broker: redis.Redis) -> None:
    """Of many attempts to end a job one wins, and the stream holds one last event."""
    attempts = [
        lambda: ledger.succeed(spec, RESULT),
        lambda: ledger.fail(spec, JobError(reason="no")),
        lambda: ledger.cancel(spec.job_id).status is JobStatus.CANCELLED and None,
    ] * 10
    with ThreadPoolExecutor(8) as pool:
        wins = [won for won in pool.map(lambda attempt: attempt(), attempts) if won]
    job = ledger.read(spec.job_id)
    assert len(wins) == (0 if job.status is JobStatus.CANCELLED else 1)
    assert [event.is_last for event in Events(broker).read(spec.job_id)] == [False, True]


@pytest.mark.parametrize("end", [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED])
def test_an_ended_job_takes_no_more_work(ledger: Ledger, spec: JobSpec, broker: redis.Redis, end: JobStatus) -> None:
    """After its end a job is neither claimed nor recorded nor ended again, and its stream is closed."""
    lease = held(ledger, spec.job_id, "memory")
    {
        JobStatus.SUCCEEDED: lambda: ledger.succeed(spec, RESULT),
        JobStatus.FAILED: lambda: ledger.fail(spec, JobError(reason="no")),
        JobStatus.CANCELLED: lambda: ledger.cancel(spec.job_id),
    }[end]()
    ended = ledger.read(spec.job_id)
    assert ledger.steps.claim(spec.job_id, "memory") == NothingToDo("ended")
    assert ledger.steps.record(lease, StepOutput()) == (False, False)
    assert ledger.succeed(spec, RESULT) is False
    assert ledger.cancel(spec.job_id).status is end
    assert Events(broker).append({lease: "late"}) == {lease}
    assert ledger.read(spec.job_id) == ended


def test_a_jobs_duration_is_observed_by_whoever_ends_it(ledger: Ledger, broker: redis.Redis, since: Since) -> None:
    """Once, from its acceptance, by the broker's clock, however it ends."""

    def observed(what: str, status: str) -> float:
        return since(f"echo_job_duration_seconds_{what}", status=status)

    answered, failed, cancelled, deleted = (let_go(ledger, new_spec()) for _ in range(4))
    for spec in (answered, failed, cancelled, deleted):
        long_ago = float(broker.hget(keys.job(spec.job_id), "created_at")) - 100
        broker.hset(keys.job(spec.job_id), "created_at", f"{long_ago:.6f}")
    for _ in range(2):
        ledger.succeed(answered, RESULT)
        ledger.fail(failed, JobError(reason="x"))
        ledger.cancel(cancelled.job_id)
    assert [observed("count", status.value) for status in JobStatus if status.ended] == [1, 1, 1]
    Sessions(broker, retention_s=600, session_s=600).delete(deleted.session_id)
    assert observed("count", "cancelled") == 2
    assert 200 <= observed("sum", "cancelled") < 260
    assert 100 <= observed("sum", "succeeded") < 160


def test_an_unknown_job_is_named(ledger: Ledger) -> None:
    """Reading, cancelling and ending what does not exist raise JobNotFound with the id; a claim finds nothing."""
    missing = uuid.uuid4().hex
    for call in (ledger.read, ledger.cancel, lambda job_id: ledger.succeed(new_spec(job_id=job_id), RESULT)):
        with pytest.raises(JobNotFound, match=missing):
            call(missing)
    assert ledger.steps.claim(missing, "memory") == NothingToDo("gone")


def test_a_full_broker_is_unavailable_and_keeps_what_it_has(ledger: Ledger, spec: JobSpec, broker: redis.Redis) -> None:
    """With its memory used up the broker refuses a new job with BrokerUnavailable; old ones stay readable."""
    broker.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerUnavailable):
            ledger.create(new_spec())
        assert ledger.read(spec.job_id).status is JobStatus.QUEUED
    finally:
        broker.config_set("maxmemory", 0)


def test_a_step_that_runs_again_says_so_in_the_events(ledger: Ledger, spec: JobSpec, broker: redis.Redis) -> None:
    """A follower learns that the step's tokens so far are void."""
    for _ in range(2):
        ledger.steps.hand_back(held(ledger, spec.job_id, "grammar"))
    statuses = [json.loads(event.data) for event in Events(broker).read(spec.job_id)]
    assert statuses == [{"status": "queued"}, {"status": "running"}, {"status": "running", "restarted": "grammar"}]


def test_faults_inside_a_pipeline_are_told_as_well(broker: redis.Redis, ledger: Ledger, spec: JobSpec) -> None:
    """A full broker is BrokerUnavailable for commands that travel together, too."""
    lease = held(ledger, spec.job_id, "memory")
    broker.config_set("maxmemory", 1)
    try:
        with pytest.raises(BrokerUnavailable):
            Events(broker).append({lease: "x"})
    finally:
        broker.config_set("maxmemory", 0)


def test_a_record_of_another_version_is_read_or_left_out(broker: redis.Redis) -> None:
    """A newer worker's extra fields are ignored; one in another form is left out, and the others stay."""
    registry = Registry(broker)
    good = a_worker()
    registry.announce(good)
    newer = good.model_dump() | {"node": "newer@test", "tokens_per_s": 3.0}
    for node, record in (("newer@test", json.dumps(newer)), ("foreign@test", "{}")):
        broker.set(keys.worker(node), record, ex=30)
        broker.sadd(keys.WORKERS, node)
    try:
        assert {worker.node for worker in registry.live()} >= {good.node, "newer@test"}
        assert "foreign@test" not in {worker.node for worker in registry.live()}
    finally:
        for node in (good.node, "newer@test", "foreign@test"):
            registry.withdraw(node)


def test_an_impatient_client_gives_up_within_two_seconds() -> None:
    """Connecting and reading together stay below what the API promises, and a timeout is not tried again."""
    client = connections.impatient("redis://127.0.0.1:1/0")
    settings = client.connection_pool.connection_kwargs
    assert settings["socket_connect_timeout"] + settings["socket_timeout"] < 2
    assert not issubclass(RedisTimeoutError, tuple(settings["retry"]._supported_errors))


def test_an_absent_broker_is_unavailable() -> None:
    """A connection refused is BrokerUnavailable, not redis-py's own error."""
    with pytest.raises(BrokerUnavailable):
        Ledger(connections.impatient("redis://127.0.0.1:1/0"), retention_s=60, session_s=60).read("x")
