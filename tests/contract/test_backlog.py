"""How many jobs may be open: bounds that hold under races, counts that cannot drift, and honest words about waiting."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echo_tasks import connections, keys
from echo_tasks.backlog import BacklogBounds
from echo_tasks.errors import BrokerUnavailable, EchoError, FarmFull, MembraneFull, SessionNotFound
from echo_tasks.leases import Claim
from echo_tasks.ledger import Idempotency, Ledger
from echo_tasks.messages import JobError, JobResult, JobSpec, JobStatus, StepOutput
from echo_tasks.sessions import SessionBounds, Sessions

BOUNDS = BacklogBounds(jobs=4, per_membrane=3)

RESULT = JobResult(
    session_id="s", response_text="Hi.", processing_time_ms=1.0, membrane_outputs={}, cognitive_metadata={}
)


@pytest.fixture
def own(broker_url: str) -> Iterator[redis.Redis]:
    """A database of this test's own, in which nobody else's jobs count."""
    client = connections.impatient(broker_url.removesuffix("/2") + "/6")
    client.flushdb()
    yield client
    client.close()


def small(client: redis.Redis, bounds: BacklogBounds = BOUNDS) -> Ledger:
    """A ledger that takes four jobs, three of them for one membrane."""
    return Ledger(client, retention_s=600, session_s=600, bounds=SessionBounds(live=10_000), backlog=bounds)


def job(*membranes: str) -> JobSpec:
    ids = {"job_id": uuid.uuid4().hex, "session_id": uuid.uuid4().hex}
    return JobSpec(**ids, input_text="Hello.", membranes=list(membranes or keys.MEMBRANES))


def test_one_job_more_than_may_be_open_is_refused_and_leaves_nothing(own: redis.Redis) -> None:
    """The fifth is FarmFull; when one ends, the next is taken."""
    ledger = small(own, BacklogBounds(jobs=4, per_membrane=100))
    specs = [job() for _ in range(4)]
    for spec in specs:
        ledger.create(spec)
    refused = job()
    with pytest.raises(FarmFull, match="4 jobs are open"):
        ledger.create(refused)
    assert not own.exists(keys.job(refused.job_id), keys.events(refused.job_id), keys.session(refused.session_id))
    ledger.cancel(specs[0].job_id)
    assert ledger.create(job()).is_new


def test_a_full_membrane_refuses_those_who_name_it(own: redis.Redis) -> None:
    """Others are taken; a recorded output makes room before the job has ended."""
    ledger = small(own)
    specs = [job("memory", "grammar"), job("memory"), job("memory")]
    for spec in specs:
        ledger.create(spec)
    with pytest.raises(MembraneFull) as caught:
        ledger.create(job("grammar", "memory"))
    assert caught.value.membrane == "memory"
    assert ledger.create(job("grammar")).is_new
    ledger.cancel(specs[1].job_id)
    ledger.release(specs[0].session_id)
    claim = ledger.steps.claim(specs[0].job_id, "memory")
    assert isinstance(claim, Claim)
    ledger.steps.record(claim.lease, StepOutput(text="x"))
    assert ledger.create(job("memory")).is_new


def test_a_replay_is_never_refused(own: redis.Redis) -> None:
    """Who comes again with his key finds his job, however full the farm is."""
    ledger, key = small(own, BacklogBounds(jobs=1, per_membrane=1)), Idempotency(uuid.uuid4().hex, "f")
    first = ledger.create(job(), key)
    with pytest.raises(FarmFull):
        ledger.create(job())
    own.config_set("maxmemory", 1)
    try:
        assert ledger.create(job(), key).job_id == first.job_id
    finally:
        own.config_set("maxmemory", 0)


def test_many_at_once_do_not_exceed_the_bound(own: redis.Redis) -> None:
    """Forty threads, four places."""
    ledger = small(own, BacklogBounds(jobs=4, per_membrane=4))

    def comes_in(_: int) -> bool:
        with suppress(FarmFull):
            return ledger.create(job()).is_new
        return False

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(comes_in, range(40))) == 4
    assert ledger.open_jobs() == 4


@pytest.mark.parametrize(
    ("ends_s_ago", "wait_s"),
    [([], 10), ([1.0], 10), ([0.0, 0.001], 1), ([0.0, 30.0], 6), ([0.0, 299.0], 60), ([0.0] * 5 + [30.0], 2)],
)
def test_the_wait_is_told_from_the_latest_ends(own: redis.Redis, ends_s_ago: list[float], wait_s: int) -> None:
    """A tenth of the bound, at the rate at which jobs ended; ten seconds where too few did to know."""
    ledger = small(own, BacklogBounds(jobs=4, per_membrane=100))
    for _ in range(4):
        ledger.create(job())
    if ends_s_ago:
        own.rpush(f"{keys.OPEN_JOBS}:ends", *(time.time() - s for s in ends_s_ago))
    with pytest.raises(FarmFull) as caught:
        ledger.create(job())
    assert abs(caught.value.retry_after_s - wait_s) <= (1 if len(ends_s_ago) > 1 and 1 < wait_s < 60 else 0)


def test_the_ends_that_are_kept_are_few(own: redis.Redis) -> None:
    """However many jobs end, their times take no more room than those of 64, and go by themselves."""
    ledger = small(own)
    for _ in range(70):
        spec = job()
        ledger.create(spec)
        ledger.cancel(spec.job_id)
    assert own.llen(f"{keys.OPEN_JOBS}:ends") == 64
    assert 0 < own.ttl(f"{keys.OPEN_JOBS}:ends") <= 300


def test_what_memory_is_left_belongs_to_the_jobs_that_were_accepted(own: redis.Redis) -> None:
    """A broker whose memory is all but used up takes no new job, and lets an open one end."""
    ledger, spec = small(own), job()
    ledger.create(spec)
    ledger.release(spec.session_id)
    own.config_set("maxmemory", int(own.info("memory")["used_memory"] * 1.05))
    try:
        with pytest.raises(BrokerUnavailable) as caught:
            ledger.create(job())
        assert caught.value.reason == "memory"
        assert ledger.succeed(spec, RESULT)
    finally:
        own.config_set("maxmemory", 0)


@dataclass
class Model:
    """What should be true: which jobs are open, and what each still waits for."""

    jobs: list[tuple[JobSpec, Idempotency]] = field(default_factory=list)
    waits: dict[str, set[str]] = field(default_factory=dict)

    def refusal(self, spec: JobSpec) -> type[EchoError] | None:
        if len(self.waits) >= BOUNDS.jobs:
            return FarmFull
        waiting = [sum(name in names for names in self.waits.values()) for name in spec.membranes]
        return MembraneFull if max(waiting) >= BOUNDS.per_membrane else None


creations = st.tuples(st.just("create"), st.sets(st.sampled_from(keys.MEMBRANES), min_size=1))
changes = st.tuples(
    st.sampled_from(["record", "succeed", "fail", "cancel", "abandon", "delete", "replay", "claim"]), st.integers(0, 9)
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(creations | changes, max_size=40))
def test_the_sets_are_the_models_whatever_happens(own: redis.Redis, steps: list[tuple[str, object]]) -> None:
    """After any sequence of creations, outputs, ends, abandonments and deletions no count has drifted."""
    own.flushdb()
    ledger, sessions = small(own), Sessions(own, retention_s=600, session_s=600)
    model = Model()
    for name, detail in steps:
        if isinstance(detail, set):
            create(ledger, model, job(*sorted(detail)))
        elif model.jobs:
            spec, key = model.jobs[int(str(detail)) % len(model.jobs)]
            change(ledger, sessions, model, name, spec, key)
        assert set(own.zrange(keys.OPEN_JOBS, 0, -1)) == set(model.waits)
        for membrane in keys.MEMBRANES:
            waiting = {job_id for job_id, names in model.waits.items() if membrane in names}
            assert own.smembers(keys.awaiting(membrane)) == waiting


def create(ledger: Ledger, model: Model, spec: JobSpec) -> None:
    key = Idempotency(uuid.uuid4().hex, "f")
    if refusal := model.refusal(spec):
        with pytest.raises(refusal):
            ledger.create(spec, key)
    else:
        assert ledger.create(spec, key).is_new
        model.jobs.append((spec, key))
        model.waits[spec.job_id] = set(spec.membranes)


def change(ledger: Ledger, sessions: Sessions, model: Model, name: str, spec: JobSpec, key: Idempotency) -> None:
    job_id, is_open = spec.job_id, spec.job_id in model.waits
    match name:
        case "claim":
            ledger.release(spec.session_id)
            ledger.steps.claim(job_id, spec.membranes[0])
        case "record":
            ledger.release(spec.session_id)
            claim = ledger.steps.claim(job_id, spec.membranes[0])
            if isinstance(claim, Claim):
                ledger.steps.record(claim.lease, StepOutput(text="x"))
                model.waits.get(job_id, set()).discard(spec.membranes[0])
        case "succeed":
            assert ledger.succeed(spec, RESULT) == is_open
        case "fail":
            assert ledger.fail(spec, JobError(reason="x")) == is_open
        case "cancel":
            assert ledger.cancel(job_id).status.ended
        case "delete":
            with suppress(SessionNotFound):
                assert sessions.delete(spec.session_id) == ([job_id] if is_open else [])
        case "replay":
            assert ledger.create(spec, key).job_id == job_id
        case "abandon":
            was_queued = is_open and ledger.read(job_id).status is JobStatus.QUEUED
            assert ledger.abandon(spec) == was_queued
            if was_queued:
                model.jobs.remove((spec, key))
                del model.waits[job_id]
    if name in {"succeed", "fail", "cancel", "delete"}:
        model.waits.pop(job_id, None)
