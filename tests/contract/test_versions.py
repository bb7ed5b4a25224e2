"""Versions of a job's record: written as low as can be, and left alone by whoever cannot read them."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Annotated

import pytest
from processes import ROOT
from yard import Yard

from echo_tasks import __version__, keys, versions
from echo_tasks.answers import Flight
from echo_tasks.errors import LetterNotFound, RecordTooNew
from echo_tasks.leases import Claim, NothingToDo
from echo_tasks.messages import JobSpec, JobStatus, Options
from echo_tasks.versions import Since

NEWER = versions.LATEST + 1


class NewOptions(Options):
    """Options of a release to come."""

    min_p: Annotated[float, Since(NEWER)] = 0.0


class NewSpec(JobSpec):
    """A job of a release to come."""

    options: NewOptions = NewOptions()
    voice: Annotated[str, Since(NEWER)] = ""


PLAIN = {"job_id": "j", "session_id": "s", "input_text": "Hello."}


def made_newer(yard: Yard, job_id: str) -> None:
    """Have the record be as a release to come may write it: with a field that this one does not know."""
    record = keys.job(job_id)
    spec = json.loads(yard.broker.hget(record, "spec")) | {"voice": "alto"}
    yard.broker.hset(record, mapping={"spec": json.dumps(spec), "version": NEWER})


def made_readable(yard: Yard, job_id: str) -> None:
    """What a newer release is to such a record: somebody who can read it."""
    record = keys.job(job_id)
    spec = json.loads(yard.broker.hget(record, "spec"))
    del spec["voice"]
    yard.broker.hset(record, "spec", json.dumps(spec))
    yard.broker.hdel(record, "version")


def test_the_release_is_the_same_everywhere() -> None:
    """In the package, for installers, and as the changelog's latest, which names the commit of the one before."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    told = re.findall(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert project["version"] == __version__ == told[0]


def test_what_a_job_does_not_use_is_not_written() -> None:
    """So an older release reads it: its text and its version are those that the older one would have written."""
    old, new = JobSpec.model_validate(PLAIN), NewSpec.model_validate(PLAIN)
    assert new.model_dump_json() == old.model_dump_json()
    assert versions.needed(new) == versions.needed(old) == versions.FIRST
    JobSpec.model_validate_json(new.model_dump_json())


@pytest.mark.parametrize("used", [{"voice": "alto"}, {"options": {"min_p": 0.1}}])
def test_what_a_job_uses_sets_its_version(used: dict[str, object]) -> None:
    """A field of a release to come, of the job or of its options."""
    spec = NewSpec.model_validate(PLAIN | used)
    assert versions.needed(spec) == NEWER
    assert NewSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValueError, match="Extra inputs"):
        JobSpec.model_validate_json(spec.model_dump_json())


def test_a_trace_takes_no_other_version(yard: Yard) -> None:
    """It is left out where there is none, and every release reads it."""
    spec = yard.accepted(trace={"traceparent": "00-1"})
    assert versions.needed(spec) == versions.FIRST
    assert yard.broker.hget(keys.job(spec.job_id), "version") is None


def test_the_version_is_in_the_record(yard: Yard) -> None:
    """Where a job needs one."""
    spec = NewSpec.model_validate(PLAIN | {"voice": "alto"})
    yard.ledger.create(spec)
    assert yard.broker.hget(keys.job("j"), "version") == str(NEWER)


def test_a_step_of_a_newer_job_waits_for_somebody_who_can_read_it(yard: Yard) -> None:
    """It goes back to all workers, later each time, and counts neither as delivered nor as lost or failed."""
    job_id = yard.published(priority=3).job_id
    made_newer(yard, job_id)
    for tries in range(1, 9):
        assert yard.take() == [job_id]
        assert yard.ledger.steps.claim(job_id, "memory", "n") == NothingToDo("newer", version=NEWER)
        now = yard.broker.time()[0]
        wait_s = yard.broker.zscore(keys.DELAYED, f"{job_id}.memory") - now
        assert wait_s == pytest.approx(min(2.0 ** (tries - 1), versions.LONGEST_PAUSE_S), abs=1.1)
        yard.reap()
        assert yard.take() == []  # before that, nobody is bothered
        yard.wait()
        yard.reap()
    made_readable(yard, job_id)
    assert yard.take() == [job_id]
    claim = yard.ledger.steps.claim(job_id, "memory", "n")
    assert isinstance(claim, Claim)
    assert (claim.lease.token, claim.faults) == (1, 0)
    assert yard.ledger.read(job_id).attempts == 1
    record = yard.broker.hgetall(keys.job(job_id))
    assert record["deaths:memory"] == record["losses:memory"] == "0"
    counts = yard.broker.hgetall(keys.COUNTS)
    assert not [name for name in counts if name.startswith(("retried", "redelivered", "steps:memory"))]


def test_a_step_in_a_workers_own_queue_goes_back_to_all(yard: Yard) -> None:
    """Its worker is the one that cannot read it."""
    job_id = yard.published().job_id
    yard.take()
    yard.broker.hset(keys.job(job_id), "direct:memory", "n")
    made_newer(yard, job_id)
    yard.ledger.steps.claim(job_id, "memory", "n")
    yard.wait()
    yard.reap()
    assert yard.take() == [job_id]


def test_a_newer_job_is_read_and_cancelled(yard: Yard) -> None:
    """By whoever knows no more of it than its id."""
    job_id = yard.published().job_id
    made_newer(yard, job_id)
    assert yard.ledger.read(job_id).status is JobStatus.QUEUED
    with pytest.raises(RecordTooNew):
        yard.ledger.spec(job_id)
    assert yard.ledger.cancel(job_id).status is JobStatus.CANCELLED
    assert yard.tracked() == set()


def test_a_newer_job_in_line_is_let_go_by_those_who_can_read_it(yard: Yard) -> None:
    """The reaper that cannot read it stands back, so that another one reaps; and reaps again where there is none."""
    at = [0.0]
    yard.reaper = yard.a_reaper(clock=lambda: at[0])
    spec = yard.accepted()
    made_newer(yard, spec.job_id)
    assert yard.dispatcher.advance(spec.session_id) == set()
    yard.wait()
    assert yard.reaper.round()
    assert yard.take() == []
    assert not yard.reaper.round()
    assert yard.a_reaper().round()
    yard.broker.delete(keys.REAPER)
    at[0] += yard.reaper.liveness.reign_s
    assert yard.reaper.round()
    made_readable(yard, spec.job_id)
    yard.wait()
    yard.a_reaper().stop()
    at[0] += yard.reaper.liveness.reign_s
    yard.broker.delete(keys.REAPER)
    assert yard.reaper.round()
    assert yard.take() == [spec.job_id]


def test_a_newer_job_past_its_time_is_left_alone(yard: Yard) -> None:
    """What its deadline means is for those to say who can read it; others are not held up by it."""
    newer, plain = yard.published(timeout_s=60).job_id, yard.published(timeout_s=60).job_id
    made_newer(yard, newer)
    yard.wait()
    yard.reaper.round()
    assert yard.ledger.read(newer).status is JobStatus.QUEUED
    assert yard.ledger.read(plain).status is JobStatus.FAILED
    assert yard.broker.zscore(keys.DEADLINES, newer) > yard.broker.time()[0]


def test_a_newer_job_is_never_put_on_the_dead_letter_list(yard: Yard) -> None:
    """Though the newer workers that ran it died as often as may be: a newer reaper may give it up."""
    job_id = yard.published().job_id
    yard.held(job_id)
    made_newer(yard, job_id)
    yard.broker.hset(keys.job(job_id), "deaths:memory", 5)
    yard.wait()
    yard.reaper.round()
    assert yard.ledger.read(job_id).status is JobStatus.RUNNING
    assert yard.letters.count() == 0


def test_a_newer_job_that_waits_for_an_equal_one_finds_out_by_itself(yard: Yard) -> None:
    """The one that it waited for ends; those that can be read get its answer."""
    leader, follower, newer = (yard.accepted() for _ in range(3))
    for spec in (leader, follower, newer):
        yard.ledger.release(spec.session_id)
        yard.ledger.flights.lead(spec, Flight("key", ()))
    made_newer(yard, newer.job_id)
    assert [spec.job_id for spec in yard.ledger.flights.followers(leader.job_id)] == [follower.job_id]
    yard.ledger.cancel(follower.job_id)
    assert yard.ledger.flights.followers(leader.job_id) == []


def test_a_follower_that_has_to_run_by_itself_is_looked_after(yard: Yard) -> None:
    """Its leader ended without an answer for it: from then on its message counts as published, and can be lost."""
    leader, follower = yard.accepted(), yard.accepted()
    for spec in (leader, follower):
        yard.ledger.release(spec.session_id)
        yard.ledger.flights.lead(spec, Flight("key", ()))
    yard.ledger.flights.go_alone(follower.job_id)
    assert f"{follower.job_id}.memory" in yard.broker.zrange(keys.lane("memory", follower.priority), 0, -1)
    yard.wait()
    yard.reap()
    assert follower.job_id in yard.take()


def test_newer_letters_are_left_out_and_kept(yard: Yard) -> None:
    """The list shows the others; of one that is asked for by its name it says why not."""
    for letter in ({"version": NEWER, "spec": {"voice": "alto"}}, None):
        job_id = yard.published().job_id
        if letter:
            yard.broker.hset(keys.LETTERS, job_id, json.dumps(letter))
            yard.broker.zadd(keys.DEAD_LETTERS, {job_id: 1.0})
            newer = job_id
            continue
        yard.broker.hset(keys.job(job_id), "deaths:memory", 2)
        yard.held(job_id)
        yard.wait()
        yard.reap()
        yard.reap()
    assert newer not in [letter.spec.job_id for letter in yard.letters.page()]
    for touch in (yard.letters.read, yard.letters.replay):
        with pytest.raises(RecordTooNew):
            touch(newer)
    yard.letters.discard(newer)
    with pytest.raises(LetterNotFound):
        yard.letters.read(newer)
