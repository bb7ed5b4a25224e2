"""Pages of other origins: those on the list may use the API, browsers keep out all others."""

from __future__ import annotations

import uuid

import pytest
from callers import ADMIN_KEY, ORIGIN
from flask.testing import FlaskClient
from processes import Answer, Site

from echo_api import create_app
from echo_tasks.settings import load

ASK = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
ELSEWHERE = ("https://evil.example", f"{ORIGIN}.evil.example", "http://app.example.org", f"{ORIGIN}:8443", "null", "*")


def words(answer: Answer, header: str) -> set[str]:
    return {word.strip() for word in answer.headers.get(header, "").split(",")}


def test_a_page_on_the_list_is_told_what_it_may_ask(guarded: Site) -> None:
    """Before it asks, without a key: which methods the route has, and which headers may be sent."""
    answer = guarded.request("OPTIONS", "/api/jobs", headers=ASK)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in words(answer, "Access-Control-Allow-Methods")
    assert {"Authorization", "Content-Type", "Idempotency-Key"} <= words(answer, "Access-Control-Allow-Headers")
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert {"Origin", "Access-Control-Request-Headers"} <= words(answer, "Vary")


def test_what_it_gets_it_may_read(guarded: Site) -> None:
    """Errors and event streams, too; with the headers that tell where to go on."""
    accepted = guarded.post(
        "/api/jobs", {"input_text": "a"}, {"Origin": ORIGIN, "Authorization": f"Bearer {ADMIN_KEY}"}
    )
    job = accepted.headers["Location"]
    guarded.request("DELETE", job)
    for answer in (
        accepted,
        guarded.get(f"{job}/events", {"Origin": ORIGIN}),
        guarded.get(f"/api/jobs/{uuid.uuid4().hex}", {"Origin": ORIGIN}),
        guarded.post("/api/jobs", {}, {"Origin": ORIGIN}),
        guarded.get("/no/such/path", {"Origin": ORIGIN}),
    ):
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert {"Location", "Retry-After", "Cache-Status", "ETag"} <= words(answer, "Access-Control-Expose-Headers")
        assert "Origin" in words(answer, "Vary")
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize("origin", [*ELSEWHERE, ""])
def test_no_other_page_is_told_anything(guarded: Site, origin: str) -> None:
    """Nor does a cache give it what a page on the list got: every answer varies by the origin."""
    for answer in (
        guarded.request("OPTIONS", "/api/jobs", headers=ASK | {"Origin": origin}),
        guarded.get("/livez", {"Origin": origin}),
    ):
        assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert "Origin" in words(answer, "Vary")


def told(client: FlaskClient, origin: str) -> dict[str, str]:
    headers = client.get("/livez", headers={"Origin": origin}).headers
    return {name: value for name, value in headers.items() if name.startswith("Access-Control") or name == "Vary"}


def test_without_a_list_no_page_is_let_in() -> None:
    """Which is the default."""
    assert told(create_app(load({})).test_client(), ORIGIN) == {}


def test_all_pages_are_let_in_without_credentials() -> None:
    """A star never goes with a browser's own credentials, and answers are the same for all."""
    found = told(create_app(load({"CORS_ORIGINS": "*"})).test_client(), "https://evil.example")
    assert found.pop("Access-Control-Expose-Headers")
    assert found == {"Access-Control-Allow-Origin": "*"}
