"""Sessions over HTTP with a real worker: their history, forks, limits, memories, and their end."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from processes import Site, until

from echo_tasks.events import Events

pytestmark = pytest.mark.farm

LIMITS = {"MAX_CONCURRENT_SESSIONS": "4", "HISTORY_TURNS": "3"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A farm with the bundled model, room for four sessions, and three turns in each."""
    own = Site(tmp_path_factory.mktemp("small"), LIMITS)
    with own.server("broker"), own.server("store"), own.worker(), own.http():
        yield own


@pytest.fixture
def session_id(small: Site) -> Iterator[str]:
    """A session whose place is free again after the test."""
    session_id = uuid.uuid4().hex
    yield session_id
    small.request("DELETE", f"/api/sessions/{session_id}")


def say(site: Site, session_id: str, text: str, *, cache: bool = False) -> dict[str, Any]:
    """The result of a greedy turn of the memory membrane."""
    options = {"temperature": 0, "cache": cache, "membranes": ["memory"]}
    body = {"input_text": text, "session_id": session_id, "processing_options": options}
    answer = site.post("/api/cognitive/process", body)
    assert answer.status == 200, answer.body
    result: dict[str, Any] = answer.json
    return result


def test_the_history_of_a_conversation(small: Site, session_id: str) -> None:
    """What was said is listed with its length in tokens, and the session's numbers are those of its jobs."""
    texts = ("My name is Zorla.", "What is my name?")
    results = [say(small, session_id, text) for text in texts]
    history = small.get(f"/api/sessions/{session_id}/history").json
    assert [(turn["turn"], turn["user"], turn["assistant"]) for turn in history["turns"]] == [
        (number, text, result["response_text"])
        for number, (text, result) in enumerate(zip(texts, results, strict=True), 1)
    ]
    assert [turn["tokens"] for turn in history["turns"]] == [result["turn_tokens"] for result in results]
    assert all(turn["tokens"] > 5 for turn in history["turns"])
    session = small.get(f"/api/sessions/{session_id}").json
    assert session["tokens_kept"] == sum(result["turn_tokens"] for result in results)
    assert session["memory_items"]["declarative"] == 1
    numbers = small.get(f"/api/cognitive/session/{session_id}/performance").json
    assert (numbers["total_interactions"], numbers["error_rate"], numbers["cache_hit_rate"]) == (2, 0, 0)
    assert numbers["total_processing_time_ms"] > numbers["avg_response_time_ms"] > 0


def test_a_fork_goes_on_with_the_state_of_its_source(small: Site, session_id: str) -> None:
    """It says what the session itself said after that turn, without reading the turns again."""
    said = [say(small, session_id, text) for text in ("My name is Zorla.", "I live in Brimtak.", "Where do I live?")]
    fork = small.post(f"/api/sessions/{session_id}/fork", {"turn": 2})
    assert fork.status == 201, fork.body
    again = say(small, fork.json["session_id"], "Where do I live?")
    assert again["response_text"] == said[2]["response_text"]
    assert again["usage"]["cached_tokens"] > 0
    other = say(small, fork.json["session_id"], "What is my name?")
    history = small.get(f"/api/sessions/{session_id}/history").json
    assert [turn["assistant"] for turn in history["turns"]] == [result["response_text"] for result in said]
    assert "Zorla" in other["response_text"]
    assert small.request("DELETE", f"/api/sessions/{fork.json['session_id']}").status == 204


def test_cached_states_go_with_their_session(small: Site) -> None:
    """While it is there, a session in which the same is said goes on from them; afterwards all is read anew."""
    texts = (f"I like the number {uuid.uuid4().int % 10**6}.", "What do I like?")
    first, during, after = (uuid.uuid4().hex for _ in range(3))
    for text in texts:
        say(small, first, text)
    results = []
    for session in (during, after):
        *_, last = [say(small, session, text) for text in texts]
        results.append(last)
        for gone in {first, session}:  # the later one leaves its own behind, too
            small.request("DELETE", f"/api/sessions/{gone}")
    found, read = (result["usage"]["cached_tokens"] for result in results)
    assert found > read
    assert results[0]["response_text"] == results[1]["response_text"]


def test_a_fork_shares_cached_answers(small: Site, session_id: str) -> None:
    """What the session was asked after that turn is known; a fork of another turn is asked anew."""
    for text in ("My name is Zorla.", "I live in Brimtak.", "Where do I live?"):
        say(small, session_id, text, cache=True)
    hits = []
    for turn in (2, 1):
        fork = small.post(f"/api/sessions/{session_id}/fork", {"turn": turn}).json["session_id"]
        result = say(small, fork, "Where do I live?", cache=True)
        hits.append(result["cache_hit"])
        (*_, last) = small.get(f"/api/sessions/{fork}/history").json["turns"]
        assert last["tokens"] == result["turn_tokens"] > 0
        rate = small.get(f"/api/cognitive/session/{fork}/performance").json["cache_hit_rate"]
        assert rate == float(result["cache_hit"])
        small.request("DELETE", f"/api/sessions/{fork}")
    assert hits == [True, False]


def test_an_old_fact_is_recalled(small: Site, session_id: str) -> None:
    """When its turn has been trimmed away the memory membrane knows it still, says so, and its use is counted once."""
    fillers = ("Hello!", "What is two plus three?", "What is three plus four?")
    for text in ("My name is Zorla. I live in Brimtak.", *fillers[:2]):
        assert say(small, session_id, text)["cognitive_metadata"]["membranes"]["memory"]["memories_used"] == []
    say(small, session_id, fillers[2])
    assert [turn["turn"] for turn in small.get(f"/api/sessions/{session_id}/history").json["turns"]] == [3, 4]
    result = say(small, session_id, "Where do I live?")
    assert result["membrane_outputs"]["memory"] == "You live in Brimtak."
    metadata = result["cognitive_metadata"]
    used = metadata["membranes"]["memory"]["memories_used"]
    assert [(one["id"], one["content"]) for one in used] == [("1-2", "I live in Brimtak.")]
    assert metadata["memory_integration_level"] == "medium"
    found = small.post("/api/memory/search", {"query": "Where do I live?", "session_id": session_id}).json
    assert [(one["content"], one["access_count"]) for one in found["results"]] == [("I live in Brimtak.", 1)]


def test_another_memory_is_another_answer(small: Site, session_id: str) -> None:
    """Sessions of which the same is kept and remembered share an answer, though the turns that told it are gone."""
    same, other = uuid.uuid4().hex, uuid.uuid4().hex
    hits = []
    for session, home in ((session_id, "Brimtak"), (same, "Brimtak"), (other, "Osk")):
        for text in (f"I live in {home}.", "Hello!", "Hello!", "Hello!"):
            say(small, session, text)
        hits.append(say(small, session, "Where do I live?", cache=True)["cache_hit"])
        found = small.post("/api/memory/search", {"query": "Where do I live?", "session_id": session}).json
        assert [one["access_count"] for one in found["results"]] == [1]
    assert hits == [False, True, False]
    for session in (same, other):
        small.request("DELETE", f"/api/sessions/{session}")


def test_a_full_farm_recovers(small: Site) -> None:
    """One session too many is told when to come again; those that live, and jobs of none, are served meanwhile."""
    names = [uuid.uuid4().hex for _ in range(4)]
    for name in names:
        assert small.post("/api/sessions", {"session_id": name}).status == 201
    body = {"input_text": "Hello!", "membranes": ["memory"], "session_id": uuid.uuid4().hex}
    refused = small.post("/api/jobs", body)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert small.post("/api/jobs", body | {"session_id": names[0]}, {"Prefer": "wait=30"}).status == 200
    one_off = small.post("/api/jobs", body | {"session_id": None}, {"Prefer": "wait=30"})
    assert one_off.status == 200
    assert small.post("/api/jobs", body | {"session_id": one_off.json["session_id"]}).status == 429
    assert small.get("/api/cognitive/sessions").json["total_count"] == 4
    for name in names:
        assert small.request("DELETE", f"/api/sessions/{name}").status == 204
    assert small.post("/api/jobs", body, {"Prefer": "wait=30"}).status == 200
    assert small.request("DELETE", f"/api/sessions/{body['session_id']}").status == 204


def test_a_session_is_deleted_under_a_running_turn(farm: Site, broker: redis.Redis) -> None:
    """The generation is cancelled, and whatever its worker still does brings nothing back."""
    session_id, events = uuid.uuid4().hex, Events(broker)
    body = {"session_id": session_id, "cache": False, "membranes": ["memory"], "input_text": "I like tea."}
    job = farm.post("/api/jobs", body | {"options": {"max_tokens": 4000}}).json
    waiting = farm.post("/api/jobs", body).json
    until(lambda: any(event.kind == "token" for event in events.read(job["job_id"])), "the turn speaks")
    assert farm.request("DELETE", f"/api/sessions/{session_id}").status == 204
    for gone in (job, waiting):
        assert farm.get(f"/api/jobs/{gone['job_id']}").json["status"] == "cancelled"
    assert events.read(job["job_id"])[-1].is_last
    after = farm.post("/api/jobs", body | {"session_id": uuid.uuid4().hex, "options": {"max_tokens": 2}}).json
    farm.ended(after["job_id"])  # a worker that was busy with the other turn has let it go
    assert farm.get(f"/api/sessions/{session_id}").status == 404
    anew = farm.post("/api/jobs", body | {"options": {"max_tokens": 2}}).json
    farm.ended(anew["job_id"])
    assert [turn["turn"] for turn in farm.get(f"/api/sessions/{session_id}/history").json["turns"]] == [1]
