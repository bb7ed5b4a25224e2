"""Two keys on one farm: neither sees, names or disturbs what is the other's. The application, without a worker."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from test_requests import problem

from echo_api import create_app
from echo_api.farm import Farm
from echo_tasks import connections, keys, logs
from echo_tasks.access.grants import Bounds, Scope
from echo_tasks.access.keyring import Request
from echo_tasks.messages import DeadLetter, JobError, JobResult, MemoryDraft
from echo_tasks.settings import load


@dataclass
class Holder:
    """Somebody with a key."""

    client: FlaskClient
    key: str

    @property
    def key_id(self) -> str:
        return self.key.split("_")[1]

    def get(self, path: str, **fields: Any) -> Any:
        return self.client.get(path, headers=self._headers(fields), **fields)

    def post(self, path: str, body: Any, **fields: Any) -> Any:
        return self.client.post(path, json=body, headers=self._headers(fields), **fields)

    def delete(self, path: str) -> Any:
        return self.client.delete(path, headers=self._headers({}))

    def job(self, text: str = "Hello.", **fields: Any) -> dict[str, Any]:
        answer = self.post("/api/jobs", {"input_text": text} | fields)
        assert answer.status_code == 202, answer.data
        return answer.json  # type: ignore[no-any-return]

    def _headers(self, fields: dict[str, Any]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} | fields.pop("headers", {})


@pytest.fixture(scope="module")
def client(broker_url: str, store_url: str) -> FlaskClient:
    """An application over a database of this file's."""
    own = broker_url.removesuffix("/0") + "/9"
    with connections.impatient(own) as broker:
        broker.flushdb()
    settings = {"BROKER_URL": own, "CACHE_URL": store_url, "ENABLE_CACHING": "false", "API_KEYS": "required"}
    return create_app(load(settings)).test_client()


@pytest.fixture
def farm(client: FlaskClient) -> Farm:
    return client.application.extensions["farm"]  # type: ignore[no-any-return]


def holder(client: FlaskClient, *scopes: Scope, **fields: Any) -> Holder:
    keyring = client.application.extensions["farm"].keyring
    return Holder(client, keyring.make(Request("somebody", scopes or ("submit", "read"), **fields)))


@pytest.fixture
def ann(client: FlaskClient) -> Holder:
    return holder(client)


@pytest.fixture
def bob(client: FlaskClient) -> Holder:
    return holder(client)


@pytest.fixture
def admin(client: FlaskClient) -> Holder:
    return holder(client, "admin")


def answer(farm: Farm, job_id: str, text: str = "Yes.", *told: MemoryDraft) -> None:
    """End a job as a worker would."""
    spec = farm.ledger.spec(job_id)
    result = JobResult(
        session_id=spec.session_id,
        response_text=text,
        processing_time_ms=1.0,
        membrane_outputs={},
        cognitive_metadata={},
        turn_tokens=5,
        memories_made=list(told),
    )
    assert farm.ledger.succeed(spec, result)
    farm.intake.settle(job_id)


def fact(content: str) -> MemoryDraft:
    return MemoryDraft(content=content, memory_type="declarative", importance=0.5)


def test_a_job_is_there_for_its_owner_and_for_admins(ann: Holder, bob: Holder, admin: Holder) -> None:
    """Nobody else reads, follows or cancels it, and what he is told is what an unknown job tells."""
    job = ann.job(session_id="me")
    assert job["session_id"] == "me"
    here = job["links"]["self"]
    unknown = "/api/jobs/" + "0" * 32
    for path in (here, f"{here}/events"):
        told, expected = problem(bob.get(path), 404), problem(bob.get(path.replace(here, unknown)), 404)
        assert told["detail"].replace(job["job_id"], "0" * 32) == expected["detail"]
    problem(bob.delete(here), 404)
    assert ann.get(here).json["status"] == "queued"
    assert ann.get(here).json["session_id"] == "me"
    assert admin.get(here).json["session_id"] == f"{ann.key_id}_me"
    assert ann.delete(here).json["status"] == "cancelled"


def test_two_keys_have_sessions_of_one_name(farm: Farm, ann: Holder, bob: Holder, admin: Holder) -> None:
    """Each with its own history; the other's cannot be named, whatever is tried."""
    for one, said in ((ann, "I am Ann."), (bob, "I am Bob.")):
        job = one.job(said, session_id="me")
        answer(farm, job["job_id"], f"Hello. {said}")
        assert one.get("/api/sessions/me").json["session_id"] == "me"
        history = one.get("/api/sessions/me/history").json
        assert [turn["user"] for turn in history["turns"]] == [said]
        assert one.get("/api/cognitive/session/me/status").json["session_id"] == "me"
        assert one.get(job["links"]["self"]).json["result"]["session_id"] == "me"
    anns = f"{ann.key_id}_me"
    for path in (
        f"/api/sessions/{anns}",
        f"/api/sessions/{anns}/history",
        f"/api/cognitive/session/{anns}/performance",
    ):
        told = problem(bob.get(path), 404)
        assert told["detail"].endswith(f"no session {anns}")
    problem(bob.post(f"/api/sessions/{anns}/fork", {"turn": 0}), 404)
    problem(bob.delete(f"/api/sessions/{anns}"), 404)
    assert bob.job(session_id=anns)["session_id"] == anns  # a session of his own
    assert ann.get("/api/sessions/me").json["open_jobs"] == 0
    assert admin.get(f"/api/sessions/{anns}").json["turns"] == 1
    assert ann.get("/api/sessions/me/history").json["total_turns"] == 1


def test_a_fork_is_its_owners(farm: Farm, ann: Holder, bob: Holder) -> None:
    """Of his own session, under his own name."""
    answer(farm, ann.job("I like tea.", session_id="from")["job_id"])
    made = ann.post("/api/sessions/from/fork", {"turn": 1, "session_id": "to"})
    assert made.status_code == 201
    assert (made.json["session_id"], made.headers["Location"]) == ("to", "/api/sessions/to")
    assert problem(ann.post("/api/sessions/from/fork", {"turn": 1, "session_id": "to"}), 409)["detail"] == (
        "session to exists"
    )
    assert bob.post("/api/sessions", {"session_id": "to"}).status_code == 201
    assert ann.delete("/api/sessions/to").status_code == 204
    assert bob.get("/api/sessions/to").status_code == 200


def test_lists_and_searches_without_a_session_keep_to_the_callers(
    farm: Farm, ann: Holder, bob: Holder, admin: Holder
) -> None:
    """Listing, search, consolidation and statistics; only an admin has them of the whole farm."""
    for one, town in ((ann, "Brimtak"), (bob, "Quorl")):
        answer(farm, one.job(f"I live in {town}.", session_id="home")["job_id"], "I see.", fact(f"I live in {town}."))
    for one, town, other in ((ann, "Brimtak", "Quorl"), (bob, "Quorl", "Brimtak")):
        listed = one.get("/api/cognitive/sessions").json
        assert (listed["total_count"], [s["session_id"] for s in listed["active_sessions"]]) == (1, ["home"])
        found = one.post("/api/memory/search", {"query": f"live {town} {other}"}).json
        assert [(m["content"], m["session_id"]) for m in found["results"]] == [(f"I live in {town}.", "home")]
        stats = one.get("/api/memory/stats").json
        assert (stats["database_stats"]["total_memories"], stats["processing_stats"]) == (1, {})
        assert one.post("/api/memory/consolidate", {}).json["status"] == "completed"
        problem(one.post("/api/memory/search", {"query": town, "session_id": f"{ann.key_id}_home"}), 404)
    ids = {s["session_id"] for s in admin.get("/api/cognitive/sessions").json["active_sessions"]}
    assert {f"{ann.key_id}_home", f"{bob.key_id}_home"} <= ids
    assert admin.get("/api/memory/stats").json["processing_stats"]["stored"] >= 2
    page = admin.get("/api/cognitive/sessions", query_string={"limit": 1, "offset": 1}).json
    assert len(page["active_sessions"]) == 1 < page["total_count"]


def test_an_events_result_names_the_session_as_its_owner_does(farm: Farm, ann: Holder, admin: Holder) -> None:
    """The farm's name of it is in none of his events."""
    job = ann.job(session_id="me-too")
    answer(farm, job["job_id"])
    whole = ann.get(job["links"]["events"]).get_data(as_text=True)
    assert ann.key_id not in whole
    data = whole.split("event: result\ndata: ")[1].split("\n")[0]
    assert json.loads(data)["session_id"] == "me-too"
    assert f"{ann.key_id}_me-too" in admin.get(job["links"]["events"]).get_data(as_text=True)


def test_a_nameless_session_is_its_owners_too(ann: Holder, bob: Holder) -> None:
    """The name that was made for it is good for him alone."""
    name = ann.job()["session_id"]
    assert name.startswith("s-")
    assert ann.get(f"/api/sessions/{name}").status_code == 200
    problem(bob.get(f"/api/sessions/{name}"), 404)


def test_a_name_that_is_too_long_with_the_owners_is_refused(ann: Holder) -> None:
    """The farm's name of it would have more characters than workers take."""
    assert ann.post("/api/sessions", {"session_id": "a" * 117}).status_code == 201
    for told in (
        problem(ann.post("/api/sessions", {"session_id": "a" * 118}), 422),
        problem(ann.post("/api/jobs", {"input_text": "a", "session_id": "a" * 118}), 422),
    ):
        assert told["errors"][0]["field"] == "session_id"
        assert "117" in told["detail"]


def test_keys_of_one_owner_share_jobs_and_sessions(client: FlaskClient, ann: Holder) -> None:
    """One may submit, another one look: that is what scopes are for."""
    eyes = holder(client, "read", owner=ann.key_id)
    job = ann.job(session_id="shared")
    assert eyes.get(job["links"]["self"]).json["session_id"] == "shared"
    assert eyes.get("/api/sessions/shared").status_code == 200
    problem(eyes.delete(job["links"]["self"]), 403)


def test_who_may_not_read_learns_no_answer_by_cancelling(client: FlaskClient, farm: Farm, ann: Holder) -> None:
    """Only how the job stands."""
    hands = holder(client, "submit", owner=ann.key_id)
    job = ann.job()
    answer(farm, job["job_id"], "A secret.")
    told = hands.delete(job["links"]["self"])
    assert (told.json["status"], told.json["result"]) == ("succeeded", None)
    assert ann.delete(job["links"]["self"]).json["result"]["response_text"] == "A secret."


def test_idempotency_keys_are_each_owners_own(ann: Holder, bob: Holder) -> None:
    """Another's replay makes another job, and tells nothing of the first."""
    headers, body = {"Idempotency-Key": "once"}, {"input_text": "Hello.", "session_id": "i"}
    first, again, others = (one.post("/api/jobs", body, headers=headers).json for one in (ann, ann, bob))
    assert first["job_id"] == again["job_id"] != others["job_id"]
    assert first["session_id"] == again["session_id"] == "i"
    assert bob.post("/api/jobs", {"input_text": "Other."}, headers=headers).status_code == 422


def test_what_was_made_without_a_key_is_for_admins(
    client: FlaskClient, farm: Farm, ann: Holder, admin: Holder, broker_url: str
) -> None:
    """A farm that had no keys has jobs and sessions of nobody's."""
    settings = load({"BROKER_URL": farm.settings.broker_url or "", "ENABLE_CACHING": "false"})
    nobody = create_app(settings).test_client()
    job = nobody.post("/api/jobs", json={"input_text": "Hello.", "session_id": "old"}).json
    assert job is not None
    for path in (job["links"]["self"], "/api/sessions/old"):
        problem(ann.get(path), 404)
        assert admin.get(path).status_code == 200


def test_priorities_end_at_the_keys_ceiling(client: FlaskClient) -> None:
    """A higher one is refused by its name; a job that names none has the key's own."""
    one = holder(client, bounds=Bounds(priority=3, priority_most=5))
    assert one.get(one.job()["links"]["self"]).json["priority"] == 3
    assert one.get(one.job(priority=5)["links"]["self"]).json["priority"] == 5
    for route in ("/api/jobs", "/api/cognitive/process"):
        told = problem(one.post(route, {"input_text": "a", "priority": 6}), 403)
        assert told["errors"][0]["field"] == "priority"
        assert "5" in told["detail"]


def test_quotas_end_in_429(client: FlaskClient, ann: Holder) -> None:
    """Open jobs and jobs of a day, for all keys of an owner; with the time to come back."""
    one = holder(client, bounds=Bounds(open_jobs=2, jobs_per_day=3))
    first = one.job()
    one.job()
    refused = one.post("/api/jobs", {"input_text": "a"})
    assert "2 open jobs" in problem(refused, 429)["detail"]
    assert int(refused.headers["Retry-After"]) >= 1
    one.delete(first["links"]["self"])
    one.job()
    refused = one.post("/api/jobs", {"input_text": "a"})
    assert "3 jobs a day" in problem(refused, 429)["detail"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 86400
    ann.job()


def test_a_replayed_letter_stays_its_owners(farm: Farm, ann: Holder, bob: Holder, admin: Holder) -> None:
    """Dead letters are for admins; the new job is for whoever asked first."""
    job_id = ann.job(session_id="ill")["job_id"]
    spec = farm.ledger.spec(job_id)
    letter = DeadLetter(spec=spec, reason="of a test", step="memory", deliveries=3, node="a@test", at=1.0)
    farm.ledger.fail(spec, JobError(reason="of a test"), letter=letter)
    problem(ann.post(f"/api/dead-letters/{job_id}/replay", {}), 403)
    again = admin.post(f"/api/dead-letters/{job_id}/replay", {}).json
    assert ann.get(again["links"]["self"]).json["session_id"] == "ill"
    problem(bob.get(again["links"]["self"]), 404)


def test_the_logs_name_the_key_by_its_id(ann: Holder, capfd: pytest.CaptureFixture[str]) -> None:
    """Whose request it was; never by what."""
    logs.configure()
    ann.client.application.extensions["farm"].broker.hset(keys.job("0" * 32), "spec", "{}")
    assert ann.get("/api/jobs/" + "0" * 32).status_code == 500
    told = capfd.readouterr().err
    assert f"key_id={ann.key_id}" in told
    assert ann.key not in told
