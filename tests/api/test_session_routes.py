"""Sessions and their memories over HTTP, without a worker: the application over a real broker."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient
from test_requests import problem

from echo_api import create_app
from echo_api.farm import Farm
from echo_tasks import connections
from echo_tasks.messages import JobResult, JobSpec, MemoryDraft
from echo_tasks.settings import load


@pytest.fixture
def client(broker_url: str, store_url: str) -> FlaskClient:
    """An application with room for four sessions, whose broker's database is its own."""
    own = broker_url.removesuffix("/0") + "/3"
    with connections.impatient(own) as broker:
        broker.flushdb()
    limits = {"MAX_CONCURRENT_SESSIONS": "4", "HISTORY_TURNS": "3", "ENABLE_CACHING": "false"}
    return create_app(load({"BROKER_URL": own, "CACHE_URL": store_url} | limits)).test_client()


@pytest.fixture
def farm(client: FlaskClient) -> Farm:
    farm: Farm = client.application.extensions["farm"]
    return farm


def said(farm: Farm, session_id: str, text: str, answer: str = "Yes.", *told: MemoryDraft) -> str:
    """A turn of the session, as a worker would have ended it; its job's id."""
    farm.ledger.create(JobSpec(job_id=uuid.uuid4().hex, session_id=session_id, input_text=text))
    spec = farm.ledger.release(session_id)
    assert spec is not None
    result = JobResult(
        session_id=session_id,
        response_text=answer,
        processing_time_ms=1.0,
        membrane_outputs={},
        cognitive_metadata={},
        turn_tokens=5,
        memories_made=list(told),
    )
    assert farm.ledger.succeed(spec, result)
    return spec.job_id


def fact(content: str) -> MemoryDraft:
    return MemoryDraft(content=content, memory_type="declarative", importance=0.5)


def test_a_session_is_opened_with_its_place(client: FlaskClient) -> None:
    """201 and Location, by the client's name or by one that is made; it reads back, empty."""
    named = client.post("/api/sessions", json={"session_id": "me"})
    made = client.post("/api/sessions", json={})
    for answer in (named, made):
        assert answer.status_code == 201
        assert (
            answer.headers["Location"] == answer.json["links"]["self"] == f"/api/sessions/{answer.json['session_id']}"
        )
        assert client.get(answer.headers["Location"]).json == answer.json
        assert (answer.json["turns"], answer.json["open_jobs"], answer.json["status"]) == (0, 0, "active")
    assert named.json["session_id"] == "me" != made.json["session_id"]
    assert "me" in problem(client.post("/api/sessions", json={"session_id": "me"}), 409)["detail"]


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("/api/sessions", {"session_id": "a b"}, "session_id"),
        ("/api/sessions", {"surprise": 1}, "surprise"),
        ("/api/sessions/me/fork", {}, "turn"),
        ("/api/sessions/me/fork", {"turn": -1}, "turn"),
        ("/api/sessions/me/fork", {"turn": 1.5}, "turn"),
        ("/api/sessions/me/fork", {"turn": 10**20}, "turn"),
        ("/api/sessions/me/fork", {"turn": 0, "session_id": ""}, "session_id"),
        ("/api/memory/search", {}, "query"),
        ("/api/memory/search", {"query": " "}, "query"),
        ("/api/memory/search", {"query": "a", "max_results": 0}, "max_results"),
        ("/api/memory/search", {"query": "a", "max_results": 101}, "max_results"),
        ("/api/memory/search", {"query": "a", "memory_types": ["semantic"]}, "memory_types.0"),
        ("/api/memory/search", {"query": "a", "memory_types": []}, "memory_types"),
        ("/api/memory/search", {"query": "a", "session_id": "*"}, "session_id"),
        ("/api/memory/consolidate", {"session_id": 7}, "session_id"),
    ],
)
def test_a_wrong_field_is_named(client: FlaskClient, route: str, body: dict[str, Any], field: str) -> None:
    """422, and only the field at fault is named."""
    errors = problem(client.post(route, json=body), 422)["errors"]
    assert [error["field"] for error in errors] == [field]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "offset=-1", "surprise=1"])
def test_a_wrong_page_is_named(client: FlaskClient, query: str) -> None:
    """The list of active sessions is bounded."""
    errors = problem(client.get(f"/api/cognitive/sessions?{query}"), 422)["errors"]
    assert [error["field"] for error in errors] == [query.split("=")[0]]


@pytest.mark.parametrize("session_id", ["unknown", "a b", "x" * 129, "a:turns", "*", "%00"])
def test_what_is_no_session_is_404(client: FlaskClient, session_id: str) -> None:
    """Whether nobody has opened it or its id has not the form of one."""
    for path in (
        "sessions/{}",
        "sessions/{}/history",
        "cognitive/session/{}/status",
        "cognitive/session/{}/performance",
    ):
        problem(client.get(f"/api/{path.format(session_id)}"), 404)
    problem(client.delete(f"/api/sessions/{session_id}"), 404)
    problem(client.post(f"/api/sessions/{session_id}/fork", json={"turn": 0}), 404)


@pytest.mark.parametrize("route", ["search", "consolidate"])
def test_memories_of_an_unknown_session_are_404(client: FlaskClient, route: str) -> None:
    """A session that a body names has to be there."""
    body = {"session_id": "unknown"} | ({"query": "a"} if route == "search" else {})
    problem(client.post(f"/api/memory/{route}", json=body), 404)


def test_one_session_too_many_is_429(client: FlaskClient) -> None:
    """On every way; sessions that live, and jobs without one, go on; what is deleted makes room."""
    for number in range(4):
        assert client.post("/api/jobs", json={"input_text": "a", "session_id": f"s{number}"}).status_code == 202
    for route, body in (
        ("/api/jobs", {"input_text": "a", "session_id": "more"}),
        ("/api/cognitive/process", {"input_text": "a", "session_id": "more"}),
        ("/api/sessions", {}),
        ("/api/sessions/s0/fork", {"turn": 0}),
    ):
        answer = client.post(route, json=body)
        problem(answer, 429)
        assert 0 < int(answer.headers["Retry-After"]) <= 30 * 60
    assert client.post("/api/jobs", json={"input_text": "a", "session_id": "s0"}).status_code == 202
    one_off = client.post("/api/jobs", json={"input_text": "a"})
    assert client.get(f"/api/sessions/{one_off.json['session_id']}").json["open_jobs"] == 1
    assert client.delete("/api/sessions/s3").status_code == 204
    assert client.post("/api/sessions", json={"session_id": "more"}).status_code == 201


def test_the_history_is_read_and_forked(client: FlaskClient, farm: Farm) -> None:
    """Turns have numbers, which say from where one can go on in another session."""
    jobs = [said(farm, "me", f"text {number}") for number in range(1, 5)]
    history = client.get("/api/sessions/me/history").json
    assert (history["session_id"], history["total_turns"]) == ("me", 4)
    assert [turn["turn"] for turn in history["turns"]] == [3, 4]
    assert history["turns"][0] | {"at": ""} == {
        "turn": 3,
        "user": "text 3",
        "assistant": "Yes.",
        "tokens": 5,
        "job_id": jobs[2],
        "at": "",
    }
    body = problem(client.post("/api/sessions/me/fork", json={"turn": 2}), 422)
    assert [error["field"] for error in body["errors"]] == ["turn"]
    assert "from 3 to 4" in body["detail"]
    problem(client.post("/api/sessions/me/fork", json={"turn": 3, "session_id": "me"}), 409)
    fork = client.post("/api/sessions/me/fork", json={"turn": 3, "session_id": "other"})
    assert (fork.status_code, fork.headers["Location"]) == (201, "/api/sessions/other")
    assert (fork.json["turns"], fork.json["turns_kept"], fork.json["tokens_kept"]) == (3, 1, 5)
    assert client.get("/api/sessions/other/history").json["turns"] == history["turns"][:1]


def test_deleting_a_session_cancels_its_jobs(client: FlaskClient, farm: Farm) -> None:
    """204, and then there is nothing of it, not even for a turn that was about to end."""
    said(farm, "me", "I like tea.", "Yes.", fact("I like tea."))
    job_id = client.post("/api/jobs", json={"input_text": "a", "session_id": "me"}).json["job_id"]
    answer = client.delete("/api/sessions/me")
    assert (answer.status_code, answer.data) == (204, b"")
    assert client.get(f"/api/jobs/{job_id}").json["status"] == "cancelled"
    problem(client.get("/api/sessions/me"), 404)
    found = client.post("/api/memory/search", json={"query": "tea"}).json
    assert found == {"query": "tea", "results": [], "total_found": 0}


def test_a_sessions_numbers_are_those_of_its_jobs(client: FlaskClient, farm: Farm) -> None:
    """Null before there is one; then means and rates of what really happened."""
    client.post("/api/sessions", json={"session_id": "me"})
    before = client.get("/api/cognitive/session/me/performance").json
    assert [before[name] for name in ("avg_response_time_ms", "cache_hit_rate", "error_rate")] == [None] * 3
    said(farm, "me", "one")
    said(farm, "me", "two")
    status = client.get("/api/cognitive/session/me/status").json
    after = client.get("/api/cognitive/session/me/performance").json
    assert (status["status"], status["total_interactions"]) == ("active", 2)
    assert after["avg_response_time_ms"] == status["avg_processing_time_ms"] > 0
    assert after["total_processing_time_ms"] >= after["avg_response_time_ms"]
    assert (after["cache_hit_rate"], after["error_count"], after["error_rate"]) == (0, 0, 0)
    listed = client.get("/api/cognitive/sessions").json
    assert listed["total_count"] == 1
    assert listed["active_sessions"] == [{name: status[name] for name in listed["active_sessions"][0]}]
    assert client.get("/api/cognitive/sessions?offset=1&limit=5").json == {"active_sessions": [], "total_count": 1}


def test_memories_are_searched(client: FlaskClient, farm: Farm) -> None:
    """In one session or in all that are live, by type, the most relevant first, no more than were asked for."""
    plan = MemoryDraft(content="I want to see the capital of France.", memory_type="intentional", importance=0.8)
    job_id = said(farm, "me", "a", "b", fact("The capital of France is Paris."), plan, fact("I like tea."))
    said(farm, "other", "a", "b", fact("The capital of Spain is Madrid."))
    body = {"query": "What is the capital of France?"}
    found = client.post("/api/memory/search", json=body | {"session_id": "me"}).json
    assert (found["query"], found["total_found"], len(found["results"])) == (body["query"], 2, 2)
    first = found["results"][0]
    assert (first["content"], first["session_id"], first["id"]) == ("The capital of France is Paris.", "me", "1-1")
    assert (first["memory_type"], first["importance"], first["access_count"]) == ("declarative", 0.5, 0)
    assert 0 < found["results"][1]["relevance_score"] <= first["relevance_score"] < 1
    assert first["timestamp"] == client.get(f"/api/jobs/{job_id}").json["finished_at"]
    everywhere = client.post("/api/memory/search", json=body | {"max_results": 1}).json
    assert (everywhere["total_found"], len(everywhere["results"])) == (3, 1)
    plans = client.post("/api/memory/search", json=body | {"memory_types": ["intentional"]}).json
    assert [result["content"] for result in plans["results"]] == [plan.content]


def test_memories_are_consolidated_and_counted(client: FlaskClient, farm: Farm) -> None:
    """A session with an open job is left alone, and waited for when it is asked for by name."""
    for session in ("me", "busy"):
        for text in ("I like tea.", "I like tea!"):
            said(farm, session, text, "Yes.", fact(text))
    client.post("/api/jobs", json={"input_text": "a", "session_id": "busy"})
    answer = client.post("/api/memory/consolidate", json={"session_id": "busy"})
    assert "busy" in problem(answer, 409)["detail"]
    assert answer.headers["Retry-After"]
    assert client.get("/api/memory/stats").json["database_stats"]["total_memories"] == 4
    done = client.post("/api/memory/consolidate", json={}).json
    assert done == {"consolidated_count": 1, "busy_sessions": 1, "status": "partial"}
    assert client.post("/api/memory/consolidate", json={"session_id": "me"}).json == {
        "consolidated_count": 0,
        "busy_sessions": 0,
        "status": "completed",
    }
    client.post("/api/memory/search", json={"query": "tea"})
    stats = client.get("/api/memory/stats").json
    assert stats["processing_stats"] == {
        "stored": 4,
        "recalled": 0,
        "dropped": 0,
        "consolidated": 1,
        "searches": 1,
    }
    assert stats["database_stats"] == {
        "sessions": 2,
        "total_memories": 3,
        "total_accesses": 0,
        "average_importance": 0.5,
    }
    assert stats["memory_types"] == {"declarative": 3, "procedural": 0, "episodic": 0, "intentional": 0}
    assert stats["uptime_seconds"] >= 0
    assert client.get("/api/sessions/me").json["memory_items"]["declarative"] == 1
