"""The ledger's own counts: each change once, in the script that makes it, and what Celery is to be told of it once."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from yard import Yard

from echo_tasks import counts, keys
from echo_tasks.counts import Counts
from echo_tasks.errors import JobNotFound, LeaseLost
from echo_tasks.ledger import Idempotency
from echo_tasks.messages import DeadLetter, JobError, JobResult, JobSpec, StepOutput
from echo_tasks.sessions import Sessions

RESULT = JobResult(
    session_id="s", response_text="Hi.", processing_time_ms=1.0, membrane_outputs={}, cognitive_metadata={}
)
NO = JobError(reason="no")


def told(yard: Yard) -> dict[str, int]:
    """The hash as it is: nothing that was not counted is in it."""
    return {word: int(count) for word, count in yard.broker.hgetall(keys.COUNTS).items()}


def test_a_job_that_is_answered(yard: Yard) -> None:
    """Accepted, each of its steps ended once however often that is asked, and ended."""
    spec = yard.published(membranes=["memory", "grammar"])
    memory, grammar = yard.held(spec.job_id), yard.held(spec.job_id, "grammar")
    for _ in range(2):
        yard.ledger.steps.record(memory, StepOutput(text="m"))
    yard.ledger.steps.record(grammar, StepOutput(error="no"))
    lease = yard.held(spec.job_id, keys.INTEGRATION)
    assert [yard.ledger.succeed(spec, RESULT, lease) for _ in range(2)] == [True, False]
    assert told(yard) == {
        "jobs:accepted": 1,
        "jobs:succeeded": 1,
        "steps:memory:succeeded": 1,
        "steps:grammar:failed": 1,
        "steps:integration:succeeded": 1,
    }
    assert [yard.ledger.steps.end_of(spec.job_id, step) for step in keys.STEPS] == [None] * 4


def test_an_answer_from_the_cache_ends_no_step(yard: Yard) -> None:
    """Its steps count as published when it is let go, and never were."""
    spec = yard.accepted()
    yard.ledger.release(spec.session_id)
    yard.ledger.succeed(spec, RESULT)
    assert told(yard) == {"jobs:accepted": 1, "jobs:succeeded": 1}


def test_a_cancelled_jobs_steps_end_with_it_wherever_they_are(yard: Yard) -> None:
    """In line, held, or put off; not what is recorded, nor what was never let go. The first to find out is told."""
    spec = yard.published(membranes=["memory", "reasoning", "grammar"])
    yard.ledger.steps.record(yard.held(spec.job_id), StepOutput(text="m"))
    yard.held(spec.job_id, "reasoning")
    later = yard.published(membranes=["memory", "grammar"])
    yard.ledger.steps.postpone(yard.held(later.job_id), 60)
    waiting = yard.accepted(session_id=spec.session_id)
    for job in (spec, later, waiting):
        yard.ledger.cancel(job.job_id)
        yard.ledger.cancel(job.job_id)
    assert told(yard) == {
        "jobs:accepted": 3,
        "jobs:cancelled": 3,
        "retried:memory": 1,
        "steps:memory:succeeded": 1,
        "steps:memory:cancelled": 1,
        "steps:reasoning:cancelled": 1,
        "steps:grammar:cancelled": 2,
    }
    assert [yard.ledger.steps.end_of(spec.job_id, "reasoning") for _ in range(2)] == ["cancelled", None]
    assert yard.ledger.steps.end_of(spec.job_id, "memory") is None
    assert yard.ledger.steps.end_of(spec.job_id, keys.INTEGRATION) is None
    assert yard.ledger.steps.end_of(later.job_id, "memory") == "cancelled"


def test_a_deleted_sessions_jobs_are_cancelled_ones(yard: Yard) -> None:
    """They count as if their clients had cancelled them."""
    spec = yard.published()
    Sessions(yard.broker, retention_s=600, session_s=600).delete(spec.session_id)
    assert told(yard) == {"jobs:accepted": 1, "jobs:cancelled": 1, "steps:memory:cancelled": 1}


def test_whoever_fails_a_job_knows_of_his_own_step(yard: Yard) -> None:
    """The others under way fail with it, and are told of by whoever finds out."""
    spec = yard.published(membranes=["memory", "grammar"])
    lease = yard.held(spec.job_id)
    yard.ledger.fail(spec, NO, lease)
    assert told(yard) == {"jobs:accepted": 1, "jobs:failed": 1, "steps:memory:failed": 1, "steps:grammar:failed": 1}
    assert [yard.ledger.steps.end_of(spec.job_id, step) for step in ("memory", "grammar")] == [None, "failed"]


def test_a_job_that_is_given_up_is_a_dead_letter(yard: Yard) -> None:
    """Nobody held its step: the next delivery, if there is one, tells."""
    spec = yard.published()
    yard.ledger.fail(spec, NO, letter=DeadLetter(spec=spec, reason="no", step="memory", deliveries=3, node="n", at=1.0))
    assert told(yard) == {"jobs:accepted": 1, "jobs:failed": 1, "steps:memory:failed": 1, "letters": 1}
    assert yard.ledger.steps.end_of(spec.job_id, "memory") == "failed"


def test_a_step_that_is_put_off_is_retried_and_one_that_comes_back_redelivered(yard: Yard) -> None:
    """Each counts for itself: after a fault in passing, after a death, and after a worker that stopped."""
    spec = yard.published()
    lease = yard.held(spec.job_id)
    assert [yard.ledger.steps.postpone(lease, 0) for _ in range(2)] == [True, True]  # the first answer was lost
    yard.reap()
    yard.held(spec.job_id)
    assert told(yard) == {"jobs:accepted": 1, "retried:memory": 1}
    yard.wait()
    yard.reap()
    yard.ledger.steps.hand_back(yard.held(spec.job_id))
    yard.held(spec.job_id)
    assert told(yard) == {"jobs:accepted": 1, "retried:memory": 1, "redelivered:memory": 2}


def test_what_is_refused_counts_for_nothing(yard: Yard) -> None:
    """A replay under a key, a claim of what is held, a lease that was lost, a job that is gone."""
    key, spec = Idempotency("counted", "f"), JobSpec(job_id="a", session_id="s", input_text="Hello.")
    yard.ledger.create(spec, key)
    yard.ledger.create(JobSpec(job_id="b", session_id="s", input_text="Hello."), key)
    yard.dispatcher.advance("s")
    lease = yard.held("a")
    yard.ledger.steps.claim("a", "memory")
    frozen = lease._replace(token=9)
    with pytest.raises(LeaseLost):
        yard.ledger.steps.record(frozen, StepOutput(text="late"))
    with pytest.raises(LeaseLost):
        yard.ledger.succeed(spec, RESULT, frozen)
    assert not yard.ledger.steps.postpone(frozen, 1)
    assert yard.ledger.steps.record(lease._replace(job_id="gone"), StepOutput()) == (False, False)
    with pytest.raises(JobNotFound):
        yard.ledger.cancel("gone")
    assert yard.ledger.steps.end_of("gone", "memory") is None
    assert not yard.broker.exists(keys.job("gone"))
    assert told(yard) == {"jobs:accepted": 1}


def test_a_job_that_was_not_accepted_after_all(yard: Yard) -> None:
    """Counters never go back: it counts as abandoned."""
    spec = yard.accepted()
    yard.ledger.abandon(spec)
    assert told(yard) == {"jobs:accepted": 1, "jobs:abandoned": 1}


def test_all_counts_are_read_at_once(yard: Yard) -> None:
    """Those that are still none, too."""
    assert counts.read(yard.broker) == Counts.of({})
    spec = yard.published()
    yard.ledger.cancel(spec.job_id)
    found = counts.read(yard.broker)
    assert (found.jobs_accepted, found.jobs_ended) == (1, {"succeeded": 0, "failed": 0, "cancelled": 1})
    assert found.steps_ended["memory", "cancelled"] == sum(found.steps_ended.values()) == 1
    assert set(found.steps_retried) == set(found.steps_redelivered) == set(keys.STEPS)


def test_a_script_whose_answer_is_lost_counts_once(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client sends it again; the ledger has done it."""
    spec = yard.published()
    lease = yard.held(spec.job_id)
    lost = _lose_next_answer(yard.broker, monkeypatch)
    yard.ledger.steps.record(lease, StepOutput(text="m"))
    assert lost == ["0"]
    last = yard.held(spec.job_id, keys.INTEGRATION)
    lost = _lose_next_answer(yard.broker, monkeypatch)
    assert not yard.ledger.succeed(spec, RESULT, last)  # it cannot know that it was its own doing
    assert lost[0][0] == "1"
    found = counts.read(yard.broker)
    assert sum(found.steps_ended.values()) == 2
    assert found.jobs_ended["succeeded"] == 1


def _lose_next_answer(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Have the client's next command be done, and its connection break before the answer, which is what comes back."""
    pool = client.connection_pool
    connection = pool.get_connection()
    read, lost = connection.read_response, list[Any]()

    def read_response(*args: object, **options: object) -> object:
        answer = read(*args, **options)
        if not lost:
            lost.append(answer)
            raise RedisConnectionError("lost")
        return answer

    monkeypatch.setattr(connection, "read_response", read_response)
    pool.release(connection)
    return lost
