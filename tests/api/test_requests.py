"""The API's answers to good and bad requests, without a worker: the application over a real broker."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

import pytest
from flask.testing import FlaskClient
from processes import Site
from records import a_worker

from cache.memory import MemoryTier
from cache.shared import SharedTier
from cache.tiered import TieredCache
from echo_api import create_app
from echo_api.farm import Farm
from echo_tasks import connections
from echo_tasks.answers import answer_key
from echo_tasks.messages import JobResult, JobSpec
from echo_tasks.settings import Settings, load


@pytest.fixture(scope="session")
def settings(site: Site, broker_url: str, store_url: str) -> Settings:
    return load(
        {
            "BROKER_URL": broker_url,
            "CACHE_URL": store_url,
            "ECHO_VAR": site.env["ECHO_VAR"],
            "SERVICE_TIMEOUT": "1",
            "MAX_CONCURRENT_SESSIONS": "10000",  # tests leave theirs behind
        }
    )


@pytest.fixture(scope="module")
def client(settings: Settings) -> FlaskClient:
    return create_app(settings).test_client()


def problem(answer: Any, status: int) -> dict[str, Any]:
    """The problem of an answer, after checking its form."""
    assert answer.status_code == status, answer.data
    assert answer.content_type == "application/problem+json"
    body: dict[str, Any] = answer.get_json(force=True)
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body


ROUTES = ["/api/jobs", "/api/cognitive/process"]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("body", [b"", b"{", b"{'a': 1}", b"\xff\xfe", b"not json", b"[" * 10**6])
def test_what_is_not_json_is_400(client: FlaskClient, route: str, body: bytes) -> None:
    """A body that does not parse is refused as such."""
    problem(client.post(route, data=body, content_type="application/json"), 400)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/xml"])
def test_another_content_type_is_415(client: FlaskClient, route: str, content_type: str) -> None:
    """JSON under another name is refused."""
    problem(client.post(route, data=b'{"input_text": "a"}', content_type=content_type), 415)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("body", ["[]", "3", "null", '"text"', '"{\\"input_text\\": \\"a\\"}"'])
def test_json_that_is_no_object_is_422(client: FlaskClient, route: str, body: str) -> None:
    """JSON that is no object names the body; a string that holds JSON is a string."""
    errors = problem(client.post(route, data=body, content_type="application/json"), 422)["errors"]
    assert [error["field"] for error in errors] == ["body"]


@pytest.mark.parametrize("route", ROUTES)
def test_every_wrong_field_is_named(client: FlaskClient, route: str) -> None:
    """422 lists all fields at fault, nested ones by their path."""
    nested = "options" if route == "/api/jobs" else "processing_options"
    body = {"input_text": "", "priority": 11, "session_id": "a b", nested: {"temperature": 9}, "surprise": 1}
    errors = problem(client.post(route, json=body), 422)["errors"]
    assert {error["field"] for error in errors} == {*body} - {nested} | {f"{nested}.temperature"}
    assert all(error["message"] for error in errors)


@pytest.mark.parametrize("route", ROUTES)
def test_a_missing_text_is_named(client: FlaskClient, route: str) -> None:
    """The one required field."""
    errors = problem(client.post(route, json={}), 422)["errors"]
    assert [error["field"] for error in errors] == ["input_text"]


@pytest.mark.parametrize("route", ROUTES)
def test_a_body_over_a_mebibyte_is_413(client: FlaskClient, route: str) -> None:
    """Size is refused before content."""
    problem(client.post(route, data=b" " * (1024 * 1024 + 1), content_type="application/json"), 413)


@pytest.mark.parametrize("path", ["/api/jobs/" + "0" * 32, "/api/jobs/" + "0" * 32 + "/events"])
def test_an_unknown_job_is_404(client: FlaskClient, path: str) -> None:
    """A job that was never made, by its id."""
    assert "0" * 32 in problem(client.get(path), 404)["detail"]


@pytest.mark.parametrize("name", ["x", "../jobs", "a:events", "0" * 31, "0" * 33, "G" * 32, "%00", "*"])
def test_what_is_no_job_id_never_reaches_the_ledger(client: FlaskClient, name: str) -> None:
    """A path that has not a job id's form is not found, whatever keys the broker holds."""
    problem(client.get(f"/api/jobs/{name}"), 404)
    problem(client.delete(f"/api/jobs/{name}"), 404)


def test_an_unknown_job_cannot_be_cancelled(client: FlaskClient) -> None:
    """DELETE of what does not exist is 404."""
    problem(client.delete("/api/jobs/" + "0" * 32), 404)


def test_a_wrong_method_names_the_right_ones(client: FlaskClient) -> None:
    """405 carries Allow."""
    answer = client.put("/api/jobs", json={})
    problem(answer, 405)
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("last", ["x", "1", "1-", "-1", "1-2-3", f"{2**64}-0", f"{2**64 - 1}-{2**64 - 1}", "00-0"])
def test_a_foreign_event_id_is_422(client: FlaskClient, last: str) -> None:
    """Last-Event-ID must be an id that this API gave."""
    job_id = client.post("/api/jobs", json={"input_text": "a"}).json["job_id"]
    errors = problem(client.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": last}), 422)["errors"]
    assert [error["field"] for error in errors] == ["Last-Event-ID"]


def test_a_job_is_accepted_with_its_place(client: FlaskClient) -> None:
    """202, Location, ids, status and links; the job reads back as queued with its times."""
    answer = client.post("/api/jobs", json={"input_text": "a", "session_id": "me", "priority": 4})
    assert answer.status_code == 202
    body = answer.json
    assert answer.headers["Location"] == body["links"]["self"] == f"/api/jobs/{body['job_id']}"
    assert body["links"]["events"] == f"/api/jobs/{body['job_id']}/events"
    assert (body["status"], body["session_id"]) == ("queued", "me")
    job = client.get(body["links"]["self"]).json
    assert (job["status"], job["priority"], job["attempts"], job["result"], job["error"]) == (
        "queued",
        4,
        0,
        None,
        None,
    )
    assert job["created_at"].endswith("Z")
    assert job["started_at"] is job["finished_at"] is None


def test_a_job_without_a_session_gets_its_own(client: FlaskClient) -> None:
    """Two jobs without a session do not share one."""
    ids = {client.post("/api/jobs", json={"input_text": "a"}).json["session_id"] for _ in range(2)}
    assert len(ids) == 2
    assert None not in ids


def test_a_queued_job_can_be_cancelled_once(client: FlaskClient) -> None:
    """DELETE answers the cancelled job; a second one finds it as it ended."""
    job_id = client.post("/api/jobs", json={"input_text": "a"}).json["job_id"]
    first = client.delete(f"/api/jobs/{job_id}")
    assert (first.status_code, first.json["status"]) == (200, "cancelled")
    assert client.delete(f"/api/jobs/{job_id}").json == first.json


def test_the_events_of_an_ended_job_end(client: FlaskClient) -> None:
    """The stream of a cancelled job is whole at once; behind its last event is 204, which ends an EventSource."""
    job_id = client.post("/api/jobs", json={"input_text": "a"}).json["job_id"]
    client.delete(f"/api/jobs/{job_id}")
    answer = client.get(f"/api/jobs/{job_id}/events")
    assert answer.content_type.startswith("text/event-stream")
    lines = answer.text.splitlines()
    assert [line for line in lines if line.startswith("data:")] == [
        'data: {"status":"queued"}',
        'data: {"status":"cancelled"}',
    ]
    last = [line for line in lines if line.startswith("id:")][-1].removeprefix("id: ")
    again = client.get(f"/api/jobs/{job_id}/events", headers={"Last-Event-ID": last})
    assert (again.status_code, again.data) == (204, b"")


def test_a_replay_returns_the_first_job(client: FlaskClient) -> None:
    """The same Idempotency-Key and body are one job; another body under it is 422; a bad key is named."""
    headers = {"Idempotency-Key": f"key {time.time_ns()}"}
    first = client.post("/api/jobs", json={"input_text": "a"}, headers=headers)
    again = client.post("/api/jobs", json={"input_text": "a"}, headers=headers)
    assert again.status_code == 202
    assert again.json == first.json
    problem(client.post("/api/jobs", json={"input_text": "b"}, headers=headers), 422)
    errors = problem(client.post("/api/jobs", json={"input_text": "a"}, headers={"Idempotency-Key": ""}), 422)["errors"]
    assert [error["field"] for error in errors] == ["Idempotency-Key"]


def test_waiting_in_vain_answers_202(client: FlaskClient) -> None:
    """`Prefer: wait=0` looks once; a preference of another kind is ignored."""
    answer = client.post("/api/jobs", json={"input_text": "a"}, headers={"Prefer": "respond-async, wait=0"})
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=0"
    ignored = client.post("/api/jobs", json={"input_text": "a"}, headers={"Prefer": "wait=soon"})
    assert "Preference-Applied" not in ignored.headers


def test_no_answer_in_time_is_504_with_the_job(client: FlaskClient) -> None:
    """Without a worker the synchronous route gives up after SERVICE_TIMEOUT and says where the job is."""
    answer = client.post("/api/cognitive/process", json={"input_text": "a"})
    problem(answer, 504)
    assert client.get(answer.headers["Location"]).json["status"] == "queued"


def test_a_known_answer_is_given_again_without_a_worker(settings: Settings) -> None:
    """An equal job answers from the cache as its own session's; one that says `cache: false` does not."""
    worker, own = a_worker(), uuid.uuid4().hex
    app = create_app(settings)
    farm: Farm = app.extensions["farm"]
    known = JobResult(
        session_id="first", response_text="Hi.", processing_time_ms=9.0, membrane_outputs={}, cognitive_metadata={}
    )
    spec = JobSpec(job_id="0", session_id="first", input_text="Known?")
    key = answer_key(spec, worker.answers_id)
    elsewhere = TieredCache(MemoryTier(10_000), [SharedTier(connections.hasty(settings.store))])
    elsewhere.set(key, known.model_dump_json().encode(), 60)
    farm.registry.announce(worker)
    try:
        result = app.test_client().post("/api/cognitive/process", json={"input_text": "Known?", "session_id": own})
        posted = app.test_client().post("/api/jobs", json={"input_text": "Known?"})
        farm.cache.set(key, b'{"of": "another version"}', 60)
        unreadable = app.test_client().post("/api/jobs", json={"input_text": "Known?"})
        fresh = app.test_client().post("/api/jobs", json={"input_text": "Known?", "cache": False})
        once = {"Cache-Control": "no-store"}
        unstored = app.test_client().post("/api/jobs", json={"input_text": "Known?"}, headers=once)
    finally:
        farm.registry.withdraw(worker.node)
    assert (posted.json["status"], unreadable.json["status"]) == ("succeeded", "queued")
    assert result.status_code == 200
    assert (result.json["response_text"], result.json["session_id"], result.json["cache_hit"]) == ("Hi.", own, True)
    assert result.json["usage"]["completion_tokens"] == 0
    assert result.headers["Cache-Status"] == "deep-tree-echo; hit; detail=l2"
    for bypassing in (fresh, unstored):
        assert app.test_client().get(bypassing.json["links"]["self"]).json["status"] == "queued"


def test_an_initial_state_that_no_worker_offers_is_refused(settings: Settings) -> None:
    """By its field, on both routes; without a live worker nobody can tell, and the job waits for one."""
    app = create_app(settings)
    client, farm = app.test_client(), app.extensions["farm"]
    options, worker = {"initial_state": "poet"}, a_worker()
    posted = client.post("/api/jobs", json={"input_text": "Hello.", "options": options})
    assert posted.status_code == 202
    farm.registry.announce(worker.model_copy(update={"initial_states": ["clerk"]}))
    farm.workforce._looked_at = float("-inf")
    try:
        for route, name in (("/api/jobs", "options"), ("/api/cognitive/process", "processing_options")):
            body = problem(client.post(route, json={"input_text": "Hello.", name: options}), 422)
            assert body["errors"] == [
                {"field": f"{name}.initial_state", "message": "no worker offers 'poet'; offered: clerk"}
            ]
        offered = {"input_text": "Hello.", "options": {"initial_state": "clerk"}}
        assert client.post("/api/jobs", json=offered).status_code == 202
    finally:
        farm.registry.withdraw(worker.node)


def test_the_openapi_document_and_its_page_are_served_offline(client: FlaskClient) -> None:
    """Every route is documented, errors as problems; the page loads nothing from elsewhere."""
    document = client.get("/openapi/openapi.json").json
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.endpoint.startswith(("openapi.", "swagger.", "static"))
    }
    assert {(path, method) for path, methods in document["paths"].items() for method in methods} == served
    submit = document["paths"]["/api/jobs"]["post"]["responses"]
    assert {"200", "202", "400", "413", "415", "422", "503"} <= set(submit)
    assert "application/problem+json" in submit["422"]["content"]
    page = client.get("/openapi/swagger")
    assert page.status_code == 200
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)


def test_metrics_count_by_route_not_by_path(client: FlaskClient) -> None:
    """Label values are bounded: an unknown path and a job's id appear in none."""
    client.get("/api/jobs/" + "1" * 32)
    client.get("/no/such/path/elsewhere")
    text = client.get("/metrics").text
    assert 'route="/api/jobs/<job_id:job_id>"' in text
    assert 'route="unmatched"' in text
    assert "elsewhere" not in text
    for method in ("AAA1", "AAA2"):
        client.open("/livez", method=method)
    assert "AAA" not in client.get("/metrics").text
    assert "1" * 32 not in text


def test_a_fault_of_ours_is_500_without_its_traceback(settings: Settings) -> None:
    """An unexpected error is a problem that tells the client nothing of the inside."""
    app = create_app(settings)

    def broken() -> None:
        raise ZeroDivisionError("secret inside")

    app.add_url_rule("/broken", view_func=broken)
    body = problem(app.test_client().get("/broken"), 500)
    assert "secret" not in json.dumps(body)
