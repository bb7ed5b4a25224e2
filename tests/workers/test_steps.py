"""A step from claim to record, over a real ledger and real queues, with an engine whose answers are set."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future

import pytest
from celery.exceptions import Reject
from measured import Since
from processes import until

from cache.memory import MemoryTier
from cache.tiered import TieredCache
from echo_tasks import connections, keys
from echo_tasks.answers import Answers, answer_key
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import (
    BrokerUnavailable,
    DeadlineExceeded,
    EngineFaulted,
    EngineFull,
    EngineStopped,
    GenerationError,
    RequestRejected,
)
from echo_tasks.events import Events
from echo_tasks.leases import Claim
from echo_tasks.ledger import Ledger
from echo_tasks.memories import Memories
from echo_tasks.messages import JobSpec, JobStatus, StepOutput
from echo_tasks.publishing import Publisher
from echo_tasks.scripts import script
from workers import calls
from workers.calls import Call
from workers.leases import Leases
from workers.membranes.prompt import Prompt
from workers.sequence import FinishReason, Generation, GenerationRequest
from workers.steps import Steps
from workers.streams import StreamWriter


class SetEngine:
    """Answers every request with one text, or raises what it is told to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.finish_reason: FinishReason = "stop"
        self.prompts: list[str] = []
        self.requests: list[GenerationRequest] = []
        self.read_ahead: list[tuple[str, tuple[int, ...]]] = []
        self.read_ahead_after: list[str | None] = []
        self.longest = 10**9
        self.before_answer = lambda: None

    def takes(self, prompt: str) -> bool:
        return len(prompt) <= self.longest

    def read(self, prompt: Prompt, initial: str | None = None, owner: str | None = None) -> None:
        self.read_ahead.append((prompt.text, prompt.marks))
        self.read_ahead_after.append(initial)

    def submit(self, request: GenerationRequest) -> Future[Generation]:
        self.prompts.append(request.prompt)
        self.requests.append(request)
        future: Future[Generation] = Future()
        if self.error is not None:
            future.set_exception(self.error)
            return future
        self.before_answer()
        future.set_result(Generation("Said.", (1,), self.finish_reason, 3, 0, -0.1, 0.0, 0.0, 0.0))
        return future


class Bench:
    """One worker's steps with everything around them."""

    def __init__(self, broker_url: str, initial_states: Mapping[str, str] | None = None) -> None:
        self.broker, self.engine = connections.impatient(broker_url), SetEngine()
        self.ledger = Ledger(self.broker, retention_s=600, session_s=600)
        self.cache = TieredCache(MemoryTier(1_000_000))
        self.answers = Answers(self.cache, lambda: "bench", 60)
        self.writer = StreamWriter(Events(self.broker))
        self.leases = Leases(self.ledger.steps)
        publisher = Publisher(broker_url)
        self.dispatcher = Dispatcher(self.ledger, publisher, self.answers)
        self.steps = Steps(
            self.ledger,
            publisher,
            self.engine,  # type: ignore[arg-type]
            self.writer,
            self.leases,
            node="bench",
            model_id="m",
            answers=self.answers,
            memories=Memories(self.broker),
            count_tokens=len,
            initial_states=initial_states or {},
            max_deliveries=3,
            chance=lambda: 0.5,
        )

    def kept(self, job_id: str) -> str | None:
        """The text that is kept as the answer to the job."""
        spec = JobSpec.model_validate_json(self.broker.hget(keys.job(job_id), "spec"))
        known = self.answers.known(spec, answer_key(spec, "bench"))
        return known.response_text if known else None

    def job(self, membranes: tuple[str, ...] = keys.MEMBRANES) -> str:
        spec = JobSpec.model_validate(
            {
                "job_id": uuid.uuid4().hex,
                "session_id": uuid.uuid4().hex,
                "input_text": f"Hello {uuid.uuid4().hex}.",
                "membranes": list(membranes),
            }
        )
        self.accept(spec)
        return spec.job_id

    def held(self, job_id: str, step: str) -> Claim:
        """A claim of a step by somebody else."""
        claim = self.ledger.steps.claim(job_id, step)
        assert isinstance(claim, Claim)
        return claim

    def accept(self, spec: JobSpec) -> None:
        """Put a job into the ledger, and let it go if its session lets it."""
        self.ledger.create(spec)
        self.dispatcher.advance(spec.session_id)

    def messages(self, step: str) -> list[str]:
        """The jobs whose step is queued, over all priorities; their messages are taken away."""
        names = list(self.broker.scan_iter(f"echo.{step}*"))
        found = [json.loads(message)["headers"]["id"] for name in names for message in self.broker.lrange(name, 0, -1)]
        if names:
            self.broker.delete(*names)
        return [message_id.removesuffix(f".{step}") for message_id in found]

    def integration_messages(self) -> int:
        """How many integration messages are queued; they are taken away."""
        return len(self.messages(keys.INTEGRATION))


@pytest.fixture
def bench(broker_url: str) -> Iterator[Bench]:
    """A bench in a database of its own, where no worker takes the messages away."""
    bench = Bench(broker_url.removesuffix("/0") + "/1")
    bench.broker.flushdb()
    calls.enter(Call())
    yield bench
    bench.broker.close()


def test_the_steps_of_a_job_make_its_answer(bench: Bench) -> None:
    """Three membranes release one integration, which ends the job and keeps the answer."""
    job_id = bench.job()
    for membrane in keys.MEMBRANES:
        assert bench.integration_messages() == 0
        bench.steps.run(job_id, membrane)
    assert bench.integration_messages() == 1
    bench.steps.run(job_id, keys.INTEGRATION)
    job = bench.ledger.read(job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.result is not None
    assert (job.result.response_text, job.result.usage.completion_tokens) == ("Said.", 4)
    assert bench.kept(job_id) == "Said."


def test_every_step_and_its_wait_are_measured(bench: Bench, since: Since) -> None:
    """Each step once, by how it went; the job once, by its end. What has nothing to do is no step."""
    job_id = bench.job(("memory", "grammar"))
    bench.engine.error = GenerationError("no")
    bench.steps.run(job_id, "memory")
    bench.engine.error = None
    for step in ("grammar", keys.INTEGRATION, keys.INTEGRATION):
        bench.steps.run(job_id, step)
    outcomes = {"memory": "failed", "grammar": "succeeded", keys.INTEGRATION: "succeeded"}
    for step, outcome in outcomes.items():
        assert since("echo_step_duration_seconds_count", step=step, outcome=outcome) == 1
        assert since("echo_step_duration_seconds_sum", step=step, outcome=outcome) > 0
        assert since("echo_step_queue_wait_seconds_count", step=step) == 1
        assert 0 < since("echo_step_queue_wait_seconds_sum", step=step) < 60
    assert since("echo_job_duration_seconds_count", status="succeeded") == 1
    assert 0 < since("echo_job_duration_seconds_sum", status="succeeded") < 60
    assert since("echo_jobs_distributed_total") == 1


def test_a_step_that_did_not_end_says_why(bench: Bench, since: Since) -> None:
    """To be tried again, given back, or in vain: its job was cancelled, or another worker has it."""

    def went(outcome: str) -> float:
        return since("echo_step_duration_seconds_count", step="memory", outcome=outcome)

    bench.engine.error = EngineFull("full")
    bench.steps.run(bench.job(("memory",)), "memory")
    assert went("postponed") == 1
    bench.engine.error = EngineStopped("stopped")
    stopped_id = bench.job(("memory",))
    with pytest.raises(Reject):
        bench.steps.run(stopped_id, "memory")
    assert went("returned") == 1
    bench.engine.error = None
    taken_id = bench.job(("memory",))
    bench.engine.before_answer = lambda: bench.broker.hset(keys.job(taken_id), "lease:memory", "7")
    bench.steps.run(taken_id, "memory")
    assert went("cancelled") == 1
    ended_id, call = bench.job(("memory",)), Call()
    calls.enter(call)

    def cancel() -> None:
        bench.ledger.cancel(ended_id)
        call.cancelled.set()

    bench.engine.before_answer = cancel
    bench.steps.run(ended_id, "memory")
    assert went("cancelled") == 2
    assert went("succeeded") == went("failed") == 0
    assert since("echo_job_duration_seconds_count", status="cancelled") == 1


def test_a_sessions_next_job_knows_the_last_turn(bench: Bench) -> None:
    """What was said and answered stands before the next text of the same session, and of no other."""
    session_id = uuid.uuid4().hex
    for text in ("I am Zorla.", "Who am I?"):
        spec = JobSpec(
            job_id=uuid.uuid4().hex,
            session_id=session_id,
            input_text=text,
            membranes=["memory"],
        )
        bench.accept(spec)
        for step in ("memory", keys.INTEGRATION):
            bench.steps.run(spec.job_id, step)
    first, _, second, integrated = bench.engine.prompts
    assert "Zorla" in first
    assert "Assistant: Said." not in first
    for prompt in (second, integrated):
        assert prompt.startswith("User: I am Zorla.\n\nAssistant: Said.\n\nSystem: ")
    past = "User: I am Zorla.\n\nAssistant: Said.\n\nUser: Who am I?\n\nAssistant: Said.\n\n"
    assert bench.engine.read_ahead == [(past, (past.index("User: Who"), len(past)))]  # not after a first turn


def test_a_step_begins_in_its_own_initial_state_or_the_jobs(bench: Bench, broker_url: str) -> None:
    """A job's wins over a membrane's; what is read ahead is read for each of them."""
    tuned = Bench(broker_url.removesuffix("/0") + "/1", {"memory": "clerk", keys.INTEGRATION: "poet"})
    session_id = uuid.uuid4().hex
    fields = {"session_id": session_id, "input_text": "Hello."}
    for options in ({}, {"initial_state": "judge"}, {}):
        spec = JobSpec.model_validate(fields | {"job_id": uuid.uuid4().hex, "options": options})
        tuned.accept(spec)
        for step in (*keys.MEMBRANES, keys.INTEGRATION):
            tuned.steps.run(spec.job_id, step)
    used = [request.initial_state for request in tuned.engine.requests]
    assert used == ["clerk", None, None, "poet", *["judge"] * 4, "clerk", None, None, "poet"]
    assert tuned.engine.read_ahead_after == ["judge", "clerk", None, "poet"]
    tuned.broker.close()


def test_a_sessions_next_job_is_published_when_the_last_one_ends(bench: Bench) -> None:
    """In the order of their acceptance, once; a redelivery makes good what a worker that died left undone."""
    session_id = uuid.uuid4().hex
    fields = {"session_id": session_id, "input_text": "Hello.", "membranes": ["memory"], "cache": False}
    first, second, third = (JobSpec.model_validate(fields | {"job_id": uuid.uuid4().hex}) for _ in range(3))
    for spec in (first, second, third):
        bench.accept(spec)
    assert bench.messages("memory") == [first.job_id]
    bench.steps.run(second.job_id, "memory")  # too early: nothing is done
    for step in ("memory", keys.INTEGRATION):
        bench.steps.run(first.job_id, step)
    assert bench.messages("memory") == [second.job_id]
    bench.engine.error = RuntimeError("out of order")
    bench.steps.run(second.job_id, "memory")
    bench.steps.run(second.job_id, keys.INTEGRATION)
    assert bench.messages("memory") == [third.job_id]  # a failed one holds nobody up
    bench.ledger.cancel(third.job_id)
    last = JobSpec.model_validate(fields | {"job_id": uuid.uuid4().hex})
    bench.ledger.create(last)
    bench.steps.run(third.job_id, keys.INTEGRATION)
    assert bench.messages("memory") == [last.job_id]


def test_every_step_delivered_twice_changes_nothing(bench: Bench) -> None:
    """Redelivered membranes are not generated again, a redelivered integration finds the job ended."""
    job_id = bench.job()
    for step in (*keys.MEMBRANES, *keys.MEMBRANES, keys.INTEGRATION, keys.INTEGRATION):
        bench.steps.run(job_id, step)
    assert len(bench.engine.prompts) == 4
    assert bench.kept(job_id) == "Said."


def test_an_answer_that_did_not_end_the_job_is_not_kept(bench: Bench) -> None:
    """A job cancelled while its integration ran keeps its end, and its cut-off text is no cached answer."""
    job_id = bench.job(("memory",))
    bench.steps.run(job_id, "memory")
    bench.engine.finish_reason = "cancelled"
    bench.engine.before_answer = lambda: bench.ledger.cancel(job_id)
    bench.steps.run(job_id, keys.INTEGRATION)
    assert bench.ledger.read(job_id).status is JobStatus.CANCELLED
    assert bench.kept(job_id) is None


@pytest.mark.parametrize("step", ["memory", keys.INTEGRATION])
def test_what_was_generated_in_vain_is_charged(bench: Bench, step: str) -> None:
    """A step that ended with its job: its tokens, beside those of the membrane that had been recorded."""
    job_id = bench.job(("memory",))
    bench.broker.hset(keys.job(job_id), "spent", spent := keys.spent(uuid.uuid4().hex))
    if step == keys.INTEGRATION:
        bench.steps.run(job_id, "memory")
    bench.engine.finish_reason = "cancelled"
    bench.engine.before_answer = lambda: bench.ledger.cancel(job_id)
    bench.steps.run(job_id, step)
    assert bench.broker.hget(spent, "tokens") == ("8" if step == keys.INTEGRATION else "4")


def test_what_was_generated_past_the_deadline_is_charged(bench: Bench) -> None:
    """As the engine tells it."""
    spec = _asking(uuid.uuid4().hex, timeout_s=5)
    bench.accept(spec)
    record, spent = keys.job(spec.job_id), keys.spent(uuid.uuid4().hex)
    bench.broker.hset(record, "spent", spent)
    bench.broker.hincrbyfloat(record, "deadline", -10)
    bench.engine.error = DeadlineExceeded(9)
    bench.steps.run(spec.job_id, "memory")
    assert bench.broker.hget(spent, "tokens") == "9"


def test_equal_jobs_have_one_generation(bench: Bench) -> None:
    """Those that come while one is under way wait for it, whoever asks; each ends with its answer, as its session's."""
    text = uuid.uuid4().hex
    jobs = [_asking(text) for _ in range(5)]
    for job in jobs:
        bench.accept(job)
    assert bench.messages("memory") == [jobs[0].job_id]
    bench.ledger.cancel(jobs[2].job_id)
    for step in ("memory", keys.INTEGRATION):
        bench.steps.run(jobs[0].job_id, step)
    assert len(bench.engine.prompts) == 2
    results = [bench.ledger.read(job.job_id).result for job in jobs]
    assert [result and (result.response_text, result.cache_tier) for result in results] == [
        ("Said.", None),
        ("Said.", "collapsed"),
        None,
        ("Said.", "collapsed"),
        ("Said.", "collapsed"),
    ]
    assert [result.session_id for result in results if result] == [jobs[n].session_id for n in (0, 1, 3, 4)]
    late = _asking(text)
    bench.accept(late)
    found = bench.ledger.read(late.job_id).result
    assert found is not None
    assert found.cache_tier == "l1"


def test_an_equal_job_takes_the_place_of_one_that_ends_without_an_answer(bench: Bench) -> None:
    """A cancelled or failed one leaves its followers to the first of them, or ends them too when nothing can help."""
    jobs = [_asking("the same") for _ in range(4)]
    for job in jobs:
        bench.accept(job)
    bench.messages("memory")
    bench.dispatcher.settle(bench.ledger.cancel(jobs[0].job_id), None)
    assert bench.messages("memory") == [jobs[1].job_id]
    bench.engine.error = GenerationError("passes")
    for step in ("memory", keys.INTEGRATION):
        bench.steps.run(jobs[1].job_id, step)
    assert bench.messages("memory") == [jobs[2].job_id]
    bench.engine.error = RequestRejected("prompt", "too long")
    for step in ("memory", keys.INTEGRATION):
        bench.steps.run(jobs[2].job_id, step)
    assert bench.messages("memory") == []
    ends = [bench.ledger.read(job.job_id) for job in jobs]
    assert [end.status.value for end in ends] == ["cancelled", "failed", "failed", "failed"]
    assert ends[3].error == ends[2].error


def test_a_more_urgent_job_waits_for_nobody(bench: Bench) -> None:
    """It runs at once, and those that come later wait for it."""
    first, urgent, later = _asking("how"), _asking("how", priority=9), _asking("how", priority=2)
    for job in (first, urgent, later):
        bench.accept(job)
    assert sorted(bench.messages("memory")) == sorted([first.job_id, urgent.job_id])
    for step in ("memory", keys.INTEGRATION):
        bench.steps.run(urgent.job_id, step)
    assert bench.ledger.read(later.job_id).status is JobStatus.SUCCEEDED
    assert bench.ledger.read(first.job_id).status is JobStatus.QUEUED


def test_those_who_waited_for_a_lost_job_wait_for_the_next_equal_one(bench: Bench) -> None:
    """A job that is gone without a word is replaced by the next one that asks the same."""
    lost, waiting, next_ = (_asking("lost") for _ in range(3))
    bench.accept(lost)
    bench.accept(waiting)
    bench.broker.delete(keys.job(lost.job_id))
    bench.messages("memory")
    bench.accept(next_)
    assert bench.messages("memory") == [next_.job_id]
    for step in ("memory", keys.INTEGRATION):
        bench.steps.run(next_.job_id, step)
    assert bench.ledger.read(waiting.job_id).status is JobStatus.SUCCEEDED


def test_a_worker_that_died_before_passing_its_answer_on_is_made_good(bench: Bench) -> None:
    """The redelivered message of a job that has ended ends those that wait for it."""
    leader, follower = _asking("redelivered"), _asking("redelivered")
    bench.accept(leader)
    bench.accept(follower)
    bench.steps.run(leader.job_id, "memory")
    bench.steps._end(bench.held(leader.job_id, keys.INTEGRATION))
    assert bench.ledger.read(follower.job_id).status is JobStatus.QUEUED
    bench.steps.run(leader.job_id, keys.INTEGRATION)
    assert bench.ledger.read(follower.job_id).status is JobStatus.SUCCEEDED


def _asking(text: str, **fields: object) -> JobSpec:
    """A job of a session of its own."""
    ids = {"job_id": uuid.uuid4().hex, "session_id": uuid.uuid4().hex}
    return JobSpec.model_validate(ids | {"input_text": text, "membranes": ["memory"]} | fields)


def test_a_step_whose_broker_fails_goes_back_to_its_queue(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is not the step's: the message is put back, and the step runs when it is delivered again."""
    job_id = bench.job(("memory",))

    def away(*_: object) -> bool:
        raise BrokerUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(bench.ledger.steps, "record", away)
        with pytest.raises(Reject) as caught:
            bench.steps.run(job_id, "memory")
    assert caught.value.requeue is True
    bench.steps.run(job_id, "memory")
    assert bench.integration_messages() == 1


def test_a_step_whose_engine_stopped_goes_back_to_its_queue(bench: Bench) -> None:
    """A worker that ends hands its steps back."""
    bench.engine.error = EngineStopped("stopped")
    with pytest.raises(Reject) as caught:
        bench.steps.run(bench.job(), "memory")
    assert caught.value.requeue is True


@pytest.mark.parametrize("error", [GenerationError("no"), ZeroDivisionError("a mistake of ours")])
def test_a_failed_membrane_degrades_the_job(bench: Bench, error: Exception) -> None:
    """A fault of any kind is recorded as the step's; the others still make an answer, which is not kept."""
    job_id = bench.job(("memory", "grammar"))
    bench.engine.error = error
    bench.steps.run(job_id, "memory")
    bench.engine.error = None
    bench.steps.run(job_id, "grammar")
    bench.steps.run(job_id, keys.INTEGRATION)
    result = bench.ledger.read(job_id).result
    assert result is not None
    assert result.cognitive_metadata["failed_membranes"] == {"memory": str(error)}
    assert result.membrane_outputs == {"memory": "", "grammar": "Said."}
    assert bench.kept(job_id) is None


@pytest.mark.parametrize(
    ("error", "rejected"), [(RequestRejected("prompt", "too long"), True), (GenerationError("no"), False)]
)
def test_a_job_fails_when_all_its_membranes_do(bench: Bench, error: Exception, rejected: bool) -> None:
    """The error names each membrane's reason, and tells a request that can never be answered from a fault."""
    job_id = bench.job(("memory", "grammar"))
    bench.engine.error = error
    bench.steps.run(job_id, "memory")
    bench.steps.run(job_id, "grammar")
    bench.steps.run(job_id, keys.INTEGRATION)
    job = bench.ledger.read(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.membranes == {"memory": str(error), "grammar": str(error)}
    assert job.error.rejected is rejected


def test_integration_shrinks_its_notes_to_what_the_engine_takes(bench: Bench) -> None:
    """The widest prompt that fits is taken; with no room for notes the text alone is answered."""
    spec = JobSpec(job_id=uuid.uuid4().hex, session_id="s", input_text="Hello.", membranes=["memory"])
    bench.accept(spec)
    bench.ledger.steps.record(bench.held(spec.job_id, "memory").lease, StepOutput(text="word " * 1000))
    bench.engine.longest = 500
    bench.steps.run(spec.job_id, keys.INTEGRATION)
    (prompt,) = bench.engine.prompts
    assert 300 < len(prompt) <= 500
    assert "Memory: word" in prompt


def test_a_lost_reply_of_the_last_record_still_releases_integration(bench: Bench) -> None:
    """A record that is repeated, since its answer was lost, answers as the first one did."""
    job_id = bench.job(("memory",))
    lease = bench.held(job_id, "memory").lease
    assert bench.ledger.steps.record(lease, StepOutput(text="m")).is_last
    assert bench.ledger.steps.record(lease, StepOutput(text="m")).is_last


def test_a_job_that_is_gone_is_no_error(bench: Bench) -> None:
    """A message that outlived its job's record is done with."""
    bench.steps.run(uuid.uuid4().hex, "memory")
    assert bench.engine.prompts == []


def test_a_silent_step_learns_that_its_job_was_cancelled(bench: Bench) -> None:
    """A step that has not said anything yet, in its prefill or in line, is cancelled all the same."""
    job_id = bench.job()
    bench.writer.start()
    try:
        with bench.writer.stream(bench.held(job_id, "memory").lease, threading.Event()) as stream:
            bench.ledger.cancel(job_id)
            assert stream.cancelled.wait(30)
    finally:
        bench.writer.stop()


def test_a_step_that_its_call_ends_is_recorded_with_an_error(bench: Bench) -> None:
    """A task that was terminated while it generated has no answer, and its job goes on without it."""
    job_id = bench.job(("memory", "grammar"))
    bench.engine.finish_reason = "cancelled"
    bench.steps.run(job_id, "memory")
    bench.engine.finish_reason = "stop"
    bench.steps.run(job_id, "grammar")
    assert bench.integration_messages() == 1
    bench.steps.run(job_id, keys.INTEGRATION)
    job = bench.ledger.read(job_id)
    assert job.status is JobStatus.SUCCEEDED
    assert job.result is not None
    assert job.result.membrane_outputs["memory"] == ""


def test_the_engine_is_told_the_bounds_of_the_call(bench: Bench) -> None:
    """A call's deadline and its cancellation are the request's."""
    call = Call(deadline=12.5)
    calls.enter(call)
    try:
        bench.steps.run(bench.job(), "memory")
    finally:
        calls.enter(Call())
    (request,) = bench.engine.requests
    assert request.deadline == 12.5
    assert request.cancelled is call.cancelled


MOMENTS = ("before", "while it runs", "recorded", "ended")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_message_delivered_again_at_any_moment_changes_nothing(bench: Bench, moment: str) -> None:
    """Every task, again, before and while each step runs, when all are recorded, and after the end."""
    job_id = bench.job(("memory", "grammar"))
    steps = ("memory", "grammar", keys.INTEGRATION)

    def again() -> None:
        for step in steps:
            bench.steps.run(job_id, step)

    if moment == "while it runs":
        bench.engine.before_answer = lambda: _once(bench, again)
    for step in steps:
        if moment == "before" and step != keys.INTEGRATION:
            bench.steps.run(job_id, keys.INTEGRATION)
        bench.steps.run(job_id, step)
        if moment == "recorded":
            bench.steps.run(job_id, step)
    if moment == "ended":
        again()
    assert len(bench.engine.prompts) == 3
    job = bench.ledger.read(job_id)
    assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 1)
    assert [event.is_last for event in Events(bench.broker).read(job_id)].count(True) == 1
    assert bench.broker.llen(keys.turns(job.session_id)) == 1


def _once(bench: Bench, act: Callable[[], None]) -> None:
    """Deliver again while a step runs, but not while what was delivered again does."""
    bench.engine.before_answer, before = (lambda: None), bench.engine.before_answer
    act()
    bench.engine.before_answer = before


def taken_from(bench: Bench, job_id: str, step: str) -> None:
    """Do as the reaper does when the worker does not renew its lease."""
    token = bench.broker.hget(keys.job(job_id), f"lease:{step}")
    bench.broker.zadd(keys.LEASES, {f"{job_id}.{step}": 1})
    requeue = script(bench.broker, "requeue")
    requeue(keys=keys.of_steps(), args=[keys.job(""), keys.HIGHEST, 9, job_id, step, token, ""])


def test_a_worker_that_was_frozen_leaves_nothing_behind(bench: Bench) -> None:
    """Its membrane's output is dropped, its integration neither ends the job nor keeps the answer."""
    job_id = bench.job(("memory",))
    bench.engine.before_answer = lambda: taken_from(bench, job_id, "memory")
    bench.steps.run(job_id, "memory")
    assert bench.integration_messages() == 0
    bench.engine.before_answer = lambda: None
    bench.steps.run(job_id, "memory")

    def freeze() -> None:
        taken_from(bench, job_id, keys.INTEGRATION)
        bench.leases.renew()

    bench.engine.before_answer = freeze
    bench.steps.run(job_id, keys.INTEGRATION)
    calls.enter(Call())
    assert bench.ledger.read(job_id).status is JobStatus.RUNNING
    assert bench.kept(job_id) is None
    bench.engine.before_answer = lambda: None
    bench.steps.run(job_id, keys.INTEGRATION)
    assert bench.ledger.read(job_id).status is JobStatus.SUCCEEDED
    assert bench.kept(job_id) == "Said."


def test_a_lost_lease_cancels_the_generation(bench: Bench) -> None:
    """The engine is told within a step; the thread that renews finds out."""
    job_id = bench.job(("memory",))

    def lose() -> None:
        taken_from(bench, job_id, "memory")
        bench.leases.renew()

    bench.engine.before_answer = lose
    bench.steps.run(job_id, "memory")
    assert bench.engine.requests[0].cancelled.is_set()


def test_leases_are_renewed_by_a_thread(bench: Bench) -> None:
    """What is held stays held, however long it takes."""
    job_id = bench.job(("memory",))
    renewed = threading.Event()

    def outlast() -> None:
        bench.broker.zadd(keys.LEASES, {f"{job_id}.memory": 1})
        bench.leases.start()
        until(lambda: bench.broker.zscore(keys.LEASES, f"{job_id}.memory") > 1, "renewed")
        renewed.set()

    bench.engine.before_answer = outlast
    try:
        bench.steps.run(job_id, "memory")
    finally:
        bench.leases.stop()
    assert renewed.is_set()
    assert bench.integration_messages() == 1


@pytest.mark.parametrize("error", [EngineStopped("stopped"), BrokerUnavailable("away")])
def test_a_step_that_is_handed_back_is_free_at_once(bench: Bench, error: Exception) -> None:
    """Another worker runs it without waiting for the lease to run out."""
    job_id = bench.job(("memory",))
    bench.engine.error = error
    with pytest.raises(Reject):
        bench.steps.run(job_id, "memory")
    assert bench.held(job_id, "memory").lease.token == 2


def test_a_lease_that_could_not_be_given_back_is_given_back_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as the broker is there again: a fault of the broker is nobody's death."""
    job_id = bench.job(("memory",))
    bench.engine.error = EngineStopped("stopped")

    def away(*_: object) -> bool:
        raise BrokerUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(bench.ledger.steps, "hand_back", away)
        with pytest.raises(Reject):
            bench.steps.run(job_id, "memory")
    bench.leases.renew()
    assert bench.held(job_id, "memory").lease.token == 2


@pytest.mark.parametrize("error", [EngineFull("full"), EngineFaulted("out of memory")])
def test_a_fault_that_may_pass_is_tried_again_later(bench: Bench, error: Exception) -> None:
    """With growing pauses; the last try's error stands."""
    job_id = bench.job(("memory",))
    bench.engine.error = error
    for faults in (1, 2):
        bench.steps.run(job_id, "memory")
        bench.steps.run(job_id, "memory")  # too early: nothing is done
        assert bench.broker.hget(keys.job(job_id), "faults:memory") == str(faults)
        bench.broker.zrem(keys.DELAYED, f"{job_id}.memory")
    bench.steps.run(job_id, "memory")
    assert len(bench.engine.prompts) == 3
    bench.steps.run(job_id, keys.INTEGRATION)
    error_told = bench.ledger.read(job_id).error
    assert error_told is not None
    assert error_told.membranes == {"memory": str(error)}


def test_a_fault_that_passed_leaves_no_trace(bench: Bench) -> None:
    """The second try's answer is the step's, integration's too."""
    job_id = bench.job(("memory",))
    for step in ("memory", keys.INTEGRATION):
        bench.engine.error = EngineFull("full")
        bench.steps.run(job_id, step)
        bench.broker.zrem(keys.DELAYED, f"{job_id}.{step}")
        bench.engine.error = None
        bench.steps.run(job_id, step)
    assert bench.ledger.read(job_id).status is JobStatus.SUCCEEDED


def test_a_step_that_runs_past_the_jobs_deadline_ends_the_job(bench: Bench) -> None:
    """The engine is told until when it may run; then the job fails, once, and says why."""
    spec = _asking("slow", timeout_s=5)
    bench.accept(spec)
    bench.broker.hincrbyfloat(keys.job(spec.job_id), "deadline", -10)
    bench.engine.error = DeadlineExceeded()
    bench.steps.run(spec.job_id, "memory")
    assert bench.engine.requests[0].deadline < time.monotonic()
    job = bench.ledger.read(spec.job_id)
    assert (job.status, job.error and job.error.reason) == (JobStatus.FAILED, "not answered within timeout_s=5")
    assert bench.integration_messages() == 0
