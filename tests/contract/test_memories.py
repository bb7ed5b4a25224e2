"""What sessions remember: written once with the turn that told it, bounded, merged, and told apart by contents."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
import redis

from echo_tasks.consolidation import consolidate
from echo_tasks.errors import SessionBusy
from echo_tasks.ledger import Ledger
from echo_tasks.memories import MEMORIES_KEPT, Memories
from echo_tasks.messages import JobResult, JobSpec, MemoryDraft, Past


@pytest.fixture
def session_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def memories(broker: redis.Redis) -> Memories:
    return Memories(broker)


def fact(content: str, importance: float = 0.5) -> MemoryDraft:
    return MemoryDraft(content=content, memory_type="declarative", importance=importance)


def accepted(ledger: Ledger, session_id: str, **fields: Any) -> JobSpec:
    ledger.create(JobSpec(job_id=uuid.uuid4().hex, session_id=session_id, input_text="Hello.", **fields))
    spec = ledger.release(session_id)
    assert spec is not None
    return spec


def told(ledger: Ledger, session_id: str, *drafts: MemoryDraft, used: tuple[str, ...] = (), **fields: Any) -> JobSpec:
    """A turn that told something; its end is delivered twice."""
    spec = accepted(ledger, session_id, **fields)
    result = JobResult(
        session_id=session_id,
        response_text="Yes.",
        processing_time_ms=1.0,
        membrane_outputs={},
        cognitive_metadata={},
        memories_made=list(drafts),
        memories_used=list(used),
    )
    assert [ledger.succeed(spec, result) for _ in range(2)] == [True, False]
    return spec


def past(ledger: Ledger, session_id: str) -> Past:
    spec = accepted(ledger, session_id)
    assert ledger.abandon(spec)
    return spec.past


def test_a_turn_is_remembered_once(ledger: Ledger, memories: Memories, session_id: str) -> None:
    """With its number, its job and its job's tags, in the order in which it was told; nobody has asked for it yet."""
    told(ledger, session_id)
    spec = told(ledger, session_id, fact("I live in Osk."), fact('I say "yes\u2028".', 0.75), tags=["home"])
    first, second = memories.of([session_id])
    assert [first.content, second.content] == ["I live in Osk.", 'I say "yes\u2028".']
    assert (first.id, second.id) == ("2-1", "2-2")
    assert (first.turn, first.job_id, first.tags, first.session_id) == (2, spec.job_id, ["home"], session_id)
    assert (second.importance, second.access_count, second.last_accessed) == (0.75, 0, None)
    assert first.made_at == ledger.read(spec.job_id).finished_at


def test_what_an_answer_used_is_counted_once(ledger: Ledger, memories: Memories, session_id: str) -> None:
    """By the end of its job; what is not there any more is not counted."""
    told(ledger, session_id, fact("I live in Osk."), fact("I like tea."))
    before = memories.counts()
    spec = told(ledger, session_id, used=("1-2", "9-9"))
    unused, used = memories.of([session_id])
    assert (unused.access_count, used.access_count) == (0, 1)
    assert used.last_accessed == ledger.read(spec.job_id).finished_at
    assert memories.counts().recalled == before.recalled + 1


def test_a_job_that_does_not_end_with_an_answer_leaves_no_memories(
    ledger: Ledger, memories: Memories, session_id: str
) -> None:
    """What was not answered was not said."""
    ledger.cancel(accepted(ledger, session_id).job_id)
    assert memories.of([session_id]) == []


def test_the_least_important_are_forgotten_first(ledger: Ledger, memories: Memories, session_id: str) -> None:
    """Of equally important ones the oldest; the count of what was dropped says so."""
    before = memories.counts()
    told(ledger, session_id, fact("old"), fact("dull", 0.1), fact("dear", 0.9))
    told(ledger, session_id, *(fact(f"fact {number}") for number in range(MEMORIES_KEPT - 1)))
    contents = [memory.content for memory in memories.of([session_id])]
    assert contents == ["dear", *(f"fact {number}" for number in range(MEMORIES_KEPT - 1))]
    assert memories.counts().dropped == before.dropped + 2


def test_equal_contents_make_equal_pasts(ledger: Ledger, session_id: str) -> None:
    """Sessions in which the same was told share answers; what is remembered otherwise tells them apart."""
    same, other = uuid.uuid4().hex, uuid.uuid4().hex
    assert past(ledger, session_id).memories == ""
    for session in (session_id, same):
        told(ledger, session, fact("I live in Osk."), tags=[session[:8]])
    told(ledger, other, fact("I live in Osk.", 0.9))
    assert past(ledger, session_id) == past(ledger, same)
    assert past(ledger, session_id).digest == past(ledger, other).digest
    assert past(ledger, session_id).memories != past(ledger, other).memories


def test_what_was_told_twice_is_consolidated(ledger: Ledger, memories: Memories, session_id: str) -> None:
    """The more important one stays, with the tags and accesses of both; the other is gone, and the past another."""
    told(ledger, session_id, fact("I live in Osk.", 0.9), fact("I like tea."), tags=["a"])
    told(ledger, session_id, fact("Really, I live in OSK!"), fact("I do not like tea."), used=("1-1",), tags=["b"])
    last = told(ledger, session_id, used=("2-1",))
    before = past(ledger, session_id), memories.counts().consolidated
    assert consolidate(memories, session_id) == 1
    found = {memory.content: memory for memory in memories.of([session_id])}
    assert [*found] == ["I live in Osk.", "I like tea.", "I do not like tea."]
    stays = found["I live in Osk."]
    assert (stays.access_count, stays.tags, stays.importance) == (2, ["a", "b"], 0.9)
    assert stays.last_accessed == ledger.read(last.job_id).finished_at
    assert past(ledger, session_id).memories != before[0].memories
    assert memories.counts().consolidated == before[1] + 1
    assert consolidate(memories, session_id) == 0


def test_what_a_running_job_knows_is_not_consolidated(ledger: Ledger, memories: Memories, session_id: str) -> None:
    """Its past is fixed: whoever wants to tidy up comes again later."""
    for _ in range(2):
        told(ledger, session_id, fact("I live in Osk."))
    running = accepted(ledger, session_id)
    with pytest.raises(SessionBusy):
        consolidate(memories, session_id)
    ledger.cancel(running.job_id)
    assert consolidate(memories, session_id) == 1


def test_memories_that_changed_meanwhile_are_read_again(
    ledger: Ledger, memories: Memories, session_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn that ends between reading and merging is not lost, and its memories take part."""
    for _ in range(2):
        told(ledger, session_id, fact("I live in Osk."))
    digest = memories.digest(session_id)
    told(ledger, session_id, fact("I live in Osk."))
    assert memories.merge(session_id, digest, []) is None
    stale = iter([digest])
    read = memories.digest
    monkeypatch.setattr(memories, "digest", lambda one: next(stale, None) or read(one))
    assert consolidate(memories, session_id) == 2
    assert [memory.id for memory in memories.of([session_id])] == ["3-1"]
