"""A step from claim to record, over a real ledger and real queues, with an engine whose answers are set."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest
from celery.exceptions import Reject

from cache.memory import MemoryTier
from cache.tiered import TieredCache
from echo_tasks import connections, keys
from echo_tasks.answers import Answers, answer_key
from echo_tasks.dispatch import Dispatcher
from echo_tasks.errors import BrokerUnavailable, EngineStopped, GenerationError, RequestRejected
from echo_tasks.events import Events
from echo_tasks.ledger import Claim, Ledger
from echo_tasks.memories import Memories
from echo_tasks.messages import JobSpec, JobStatus, StepOutput
from echo_tasks.publishing import Publisher
from workers import calls
from workers.calls import Call
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
        publisher = Publisher(broker_url)
        self.dispatcher = Dispatcher(self.ledger, publisher, self.answers)
        self.steps = Steps(
            self.ledger,
            publisher,
            self.engine,  # type: ignore[arg-type]
            self.writer,
            node="bench",
            model_id="m",
            answers=self.answers,
            memories=Memories(self.broker),
            count_tokens=len,
            initial_states=initial_states or {},
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
    claim = bench.ledger.claim(leader.job_id, keys.INTEGRATION)
    assert isinstance(claim, Claim)
    bench.steps._end(claim)
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
        patched.setattr(bench.ledger, "record", away)
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
    bench.ledger.record(spec.job_id, "memory", StepOutput(text="word " * 1000))
    bench.engine.longest = 500
    bench.steps.run(spec.job_id, keys.INTEGRATION)
    (prompt,) = bench.engine.prompts
    assert 300 < len(prompt) <= 500
    assert "Memory: word" in prompt


def test_a_lost_reply_of_the_last_record_still_releases_integration(bench: Bench) -> None:
    """A record that is repeated, since its answer was lost, answers as the first one did."""
    job_id = bench.job(("memory",))
    assert bench.ledger.record(job_id, "memory", StepOutput(text="m")) is True
    assert bench.ledger.record(job_id, "memory", StepOutput(text="m")) is True


def test_a_job_that_is_gone_is_no_error(bench: Bench) -> None:
    """A message that outlived its job's record is done with."""
    bench.steps.run(uuid.uuid4().hex, "memory")
    assert bench.engine.prompts == []


def test_a_silent_step_learns_that_its_job_was_cancelled(bench: Bench) -> None:
    """A step that has not said anything yet, in its prefill or in line, is cancelled all the same."""
    job_id = bench.job()
    bench.writer.start()
    try:
        with bench.writer.stream(job_id, "memory", threading.Event()) as stream:
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
