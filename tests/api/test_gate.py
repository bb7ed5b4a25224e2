"""The gate: who needs a key for what, and how everybody else is answered. The application over a real broker."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from flask.testing import FlaskClient
from processes import free_port
from test_requests import problem

from echo_api import create_app, needs
from echo_tasks import connections, keys
from echo_tasks.access import exposure
from echo_tasks.access.grants import Bounds, Scope
from echo_tasks.access.keyring import Keyring, Request
from echo_tasks.errors import SettingsError
from echo_tasks.settings import load

ADMIN_KEY = "0123456789abcdef" * 2

OPEN = {"livez", "metrics"}
"""What is the same for everybody; of `readyz` and `health` there is more for some."""

SUBMITS = {
    "POST /api/jobs",
    "DELETE /api/jobs/{job_id}",
    "POST /api/cognitive/process",
    "POST /api/sessions",
    "DELETE /api/sessions/{session_id}",
    "POST /api/sessions/{session_id}/fork",
    "POST /api/memory/consolidate",
}


@pytest.fixture(scope="module")
def own(broker_url: str) -> str:
    """A database that is this file's."""
    url = broker_url.removesuffix("/0") + "/8"
    with connections.impatient(url) as broker:
        broker.flushdb()
    return url


def app(url: str, store_url: str = "redis://127.0.0.1:1/0", **settings: str) -> FlaskClient:
    return create_app(load({"BROKER_URL": url, "CACHE_URL": store_url} | settings)).test_client()


@pytest.fixture(scope="module")
def client(own: str, store_url: str) -> FlaskClient:
    """Keys are needed here, and there is one of the settings'."""
    return app(own, store_url, API_KEYS="required", API_ADMIN_KEY=ADMIN_KEY)


@pytest.fixture
def keyring(own: str) -> Keyring:
    return Keyring(connections.impatient(own))


def a_key(keyring: Keyring, *scopes: Scope, **fields: Any) -> str:
    return keyring.make(Request("somebody", scopes, **fields))


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def routes(client: FlaskClient) -> list[tuple[str, str, str]]:
    """Method, path of the document, and path that can be asked for, of all routes."""
    found = []
    for path, operations in client.application.api_doc["paths"].items():  # type: ignore[attr-defined]
        asked = path.replace("{job_id}", "0" * 32).replace("{name}", "cognitive-service")
        found += [(method.upper(), path, re.sub(r"{\w+}", "L1", asked)) for method in operations]
    return found


def scope_of(method: str, path: str) -> str | None:
    """What the routes need, as the issue of keys has it."""
    if not path.startswith("/api/"):
        return None
    if path.startswith(("/api/services", "/api/scaling", "/api/dead-letters")):
        return "admin"
    if path.startswith("/api/cache") and method != "GET":
        return "admin"
    return "submit" if f"{method} {path}" in SUBMITS else "read"


def test_every_route_declares_what_it_needs(client: FlaskClient) -> None:
    """In the document, and the gate asks for it: each key gets in where its scopes say so, and nowhere else."""
    application: Any = client.application
    assert {need.scope for need in needs.by_route(application).values()} == {None, "read", "submit", "admin"}
    told = {
        (method, path): operation["security"]
        for path, operations in application.api_doc["paths"].items()
        for method, operation in operations.items()
    }
    for method, path, _ in routes(client):
        scope = scope_of(method, path)
        if scope is not None:
            assert told[method.lower(), path] == [{"bearer": [scope]}, {"header": [scope]}], path
        else:
            assert (told[method.lower(), path] == []) is (path.strip("/") in OPEN), path
    assert set(application.api_doc["components"]["securitySchemes"]) == {"bearer", "header"}


def test_a_route_that_declares_nothing_keeps_the_application_from_being_made() -> None:
    """Whoever adds one has to say who may use it."""
    application: Any = create_app(load({}))
    application._got_first_request = False
    application.get("/api/new")(lambda: "")
    application.spec_json = {}
    with pytest.raises(LookupError, match="/api/new does not say"):
        needs.by_route(application)


def test_each_scope_opens_its_routes_and_no_others(client: FlaskClient, keyring: Keyring) -> None:
    """401 without a key, 403 without the scope; and what is let in is answered by the route itself."""
    held: Mapping[str, str] = {scope: a_key(keyring, scope) for scope in ("read", "submit", "admin")}  # type: ignore[arg-type]
    for method, path, asked in routes(client):
        if (scope := scope_of(method, path)) is None:
            continue
        what = f"{method} {path}"
        told = problem(client.open(asked, method=method), 401)
        assert "key" in told["detail"], what
        for name, key in held.items():
            answer = client.open(asked, method=method, headers=bearer(key), json={} if method == "POST" else None)
            assert (answer.status_code == 403) is (name not in {scope, "admin"}), (what, name, answer.data)
            assert answer.status_code != 401, what


def test_a_refusal_says_how_to_be_let_in(client: FlaskClient, keyring: Keyring) -> None:
    """RFC 6750: the scheme; that a key was wrong only where one was shown; the scope that is missing."""
    bare = client.get("/api/cognitive/sessions")
    assert bare.headers["WWW-Authenticate"] == 'Bearer realm="deep-tree-echo"'
    wrong = client.get("/api/cognitive/sessions", headers=bearer("echo_nothing"))
    assert wrong.headers["WWW-Authenticate"] == 'Bearer realm="deep-tree-echo", error="invalid_token"'
    assert "'submit'" in problem(client.post("/api/jobs", headers=bearer(a_key(keyring, "read"))), 403)["detail"]
    key = a_key(keyring, "read")
    keyring.revoke(key.split("_")[1])
    assert "revoked" in problem(client.get("/api/cognitive/sessions", headers=bearer(key)), 401)["detail"]
    key = a_key(keyring, "read", expires_in_s=1)
    keyring._redis.hset(keys.access(key.split("_")[1]), "expires_at", "1")
    assert "expired" in problem(client.get("/api/cognitive/sessions", headers=bearer(key)), 401)["detail"]


def test_a_key_is_shown_in_one_of_two_ways(client: FlaskClient, keyring: Keyring) -> None:
    """The scheme's case does not matter; two keys that differ are none; other schemes are not meant for us."""
    key, other = a_key(keyring, "read"), a_key(keyring, "read")
    good = [
        bearer(key),
        {"Authorization": f"bearer {key}"},
        {"Authorization": f"BEARER  {key} "},
        {"X-API-Key": key},
        bearer(key) | {"X-API-Key": key},
        {"Authorization": "Basic dXNlcjpwYXNzd29yZA==", "X-API-Key": key},
    ]
    bad: list[Any] = [
        {"Authorization": key},
        {"Authorization": f"Token {key}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"X-API-Key": ""},
        bearer(key) | {"X-API-Key": other},
        bearer(f"{key},Bearer {key}"),
        bearer(f"{key}\0"),
        bearer(f"{key}é"),
        bearer(key.upper()),
        bearer(key[:-1]),
        bearer("e" * 8000),
        {"Cookie": f"key={key}"},
        [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {other}")],
    ]
    for headers in good:
        assert client.get("/api/cognitive/sessions", headers=headers).status_code == 200, headers
    for headers in bad:
        problem(client.get("/api/cognitive/sessions", headers=headers), 401)
    problem(client.get("/api/cognitive/sessions", query_string={"key": key, "api_key": key}), 401)


def test_the_settings_key_needs_no_broker(own: str) -> None:
    """It opens a farm that has no key yet, and is told of nowhere."""
    client = app(own, API_KEYS="required", API_ADMIN_KEY=ADMIN_KEY)
    assert client.get("/api/services", headers=bearer(ADMIN_KEY)).status_code == 200
    problem(client.get("/api/services", headers=bearer(ADMIN_KEY[:-1])), 401)
    away = app(f"redis://127.0.0.1:{free_port()}/0", API_KEYS="required", API_ADMIN_KEY=ADMIN_KEY)
    problem(away.get("/api/services", headers=bearer(ADMIN_KEY)), 503)
    assert ADMIN_KEY not in repr(load({"API_ADMIN_KEY": ADMIN_KEY}))


@pytest.mark.parametrize("key", ["too-short", "with spaces " * 5, "with,commas" * 5, "é" * 40])
def test_a_settings_key_that_could_be_guessed_or_not_be_sent_is_refused(key: str) -> None:
    """In a line without it."""
    with pytest.raises(SettingsError) as caught:
        load({"API_ADMIN_KEY": key})
    (line,) = caught.value.problems
    assert line.startswith("API_ADMIN_KEY='***' is not allowed (value error, at least 32")
    assert key not in line


def test_nobody_is_let_through_while_the_broker_is_away(keyring: Keyring) -> None:
    """503 for whoever shows a key, right or wrong; 401 for whoever shows none."""
    away = app(f"redis://127.0.0.1:{free_port()}/0", API_KEYS="required")
    for key in (a_key(keyring, "admin"), f"echo_abcdefghij_{'x' * 43}"):
        answer = away.get("/api/cache/stats", headers=bearer(key))
        problem(answer, 503)
        assert int(answer.headers["Retry-After"]) >= 1
    problem(away.get("/api/cache/stats"), 401)


@pytest.mark.parametrize(
    ("settings", "address", "forwarded", "status"),
    [
        ({}, "127.0.0.1", None, 200),
        ({}, "::1", None, 200),
        ({}, "::ffff:127.0.0.1", None, 200),
        ({}, "192.0.2.1", None, 401),
        ({}, "127.0.0.1", "127.0.0.1", 200),
        ({}, "127.0.0.1", "203.0.113.9", 401),
        ({}, "127.0.0.1", "127.0.0.1, 203.0.113.9", 401),
        ({}, "127.0.0.1", "nonsense", 401),
        ({}, "127.0.0.1", "X-Real-IP: 203.0.113.9", 401),
        ({}, "127.0.0.1", "X-Real-IP: 127.0.0.1", 200),
        ({}, "127.0.0.1", "Forwarded: for=203.0.113.9", 401),
        ({}, "127.0.0.1", "Host: 127.0.0.1:8000", 200),
        ({}, "::1", "Host: [::1]:8000", 200),
        ({}, "127.0.0.1", "Host: evil.example:8000", 401),
        ({}, "127.0.0.1", "Host: localhost.evil.example", 401),
        ({}, "127.0.0.1", "Host: 0.0.0.0:8000", 401),
        ({}, "127.0.0.1", "Origin: http://localhost:3000", 200),
        ({}, "127.0.0.1", "Origin: https://evil.example", 401),
        ({}, "127.0.0.1", "Origin: null", 401),
        ({}, "127.0.0.1", "Origin: http://[", 401),
        ({"CORS_ORIGINS": "https://app.example"}, "127.0.0.1", "Origin: https://app.example", 200),
        ({"CORS_ORIGINS": "https://app.example"}, "127.0.0.1", "Origin: https://evil.example", 401),
        ({"CORS_ORIGINS": "*"}, "127.0.0.1", "Origin: https://evil.example", 401),
        ({"API_HOST": "localhost"}, "127.0.0.1", None, 200),
        ({"API_HOST": "0.0.0.0"}, "127.0.0.1", None, 401),
        ({"API_HOST": "::"}, "::1", None, 401),
        ({"API_HOST": "farm.example"}, "127.0.0.1", None, 401),
        ({"API_KEYS": "required"}, "127.0.0.1", None, 401),
        ({"API_KEYS": "off", "API_HOST": "0.0.0.0"}, "192.0.2.1", "203.0.113.9", 200),
    ],
)
def test_who_needs_a_key(own: str, settings: dict[str, str], address: str, forwarded: str | None, status: int) -> None:
    """`auto`: this machine's own programs do not, where no other machine can be behind them, nor another one's page."""
    name, _, value = (forwarded or "").rpartition(": ")
    headers = {name or "X-Forwarded-For": value} if forwarded else {}
    answer = app(own, **settings).get(
        "/api/cognitive/sessions", headers=headers, environ_overrides={"REMOTE_ADDR": address}
    )
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("said", "is_wanted"),
    [
        ({}, False),
        ({"API_HOST": "localhost"}, False),
        ({"API_HOST": "0.0.0.0"}, True),
        ({"API_HOST": "::"}, True),
        ({"API_HOST": "192.0.2.1"}, True),
        ({"API_HOST": "0.0.0.0", "API_KEYS": "required"}, False),
        ({"API_HOST": "0.0.0.0", "API_KEYS": "off"}, False),
        ({"API_HOST": "0.0.0.0", "API_ADMIN_KEY": ADMIN_KEY}, False),
    ],
)
def test_the_api_wants_a_key_first_unless_somebody_said_otherwise(said: dict[str, str], is_wanted: bool) -> None:
    """An explicit setting, or a key that the settings name, is enough."""
    assert exposure.wants_a_key_first(load(said)) is is_wanted


def test_a_key_that_is_shown_counts_where_none_is_needed(own: str, keyring: Keyring) -> None:
    """And a wrong one is refused, lest somebody believes that his is good."""
    for settings in ({}, {"API_KEYS": "off"}):
        client = app(own, **settings)
        assert client.get("/api/services").status_code == 200
        problem(client.get("/api/services", headers=bearer(a_key(keyring, "read"))), 403)
        problem(client.get("/api/services", headers=bearer("echo_nothing")), 401)


def test_probes_tell_strangers_no_more_than_they_must(client: FlaskClient, keyring: Keyring) -> None:
    """Status and names; addresses, workers and numbers are for admins."""
    assert client.get("/livez").json == {"status": "ok"}
    assert set(client.get("/health").json) == {"status"}  # type: ignore[arg-type]
    assert client.get("/health", headers=bearer(a_key(keyring, "read"))).json == client.get("/health").json
    whole = client.get("/health", headers=bearer(ADMIN_KEY)).json
    assert whole is not None
    assert {"workers", "open_jobs", "checks"} <= set(whole)
    checks = client.get("/readyz").json["checks"]  # type: ignore[index]
    assert checks["broker"] == {"ok": True}
    for path in ("/metrics", "/openapi/openapi.json", "/openapi/"):
        assert client.get(path).status_code == 200
    problem(client.get("/api/nothing"), 404)
    assert client.options("/api/jobs").status_code == 200


def test_rates_are_told_in_headers_and_end_in_429(client: FlaskClient, keyring: Keyring) -> None:
    """The IETF draft's, and the older ones; other keys go on."""
    bounds = Bounds(requests_per_minute=2)
    key, other = a_key(keyring, "read", bounds=bounds), a_key(keyring, "read")
    answers = [client.get("/api/cognitive/sessions", headers=bearer(key)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    told = [answer.headers for answer in answers]
    assert [one["RateLimit-Policy"] for one in told] == ['"key";q=2;w=60'] * 3
    assert [one["RateLimit"] for one in told] == ['"key";r=1;t=30', '"key";r=0;t=60', '"key";r=0;t=60']
    assert [one["X-RateLimit-Limit"] for one in told] == ["2"] * 3
    assert [one["X-RateLimit-Remaining"] for one in told] == ["1", "0", "0"]
    assert all(int(one["X-RateLimit-Reset"]) > 1.7e9 for one in told)
    assert 29 <= int(answers[2].headers["Retry-After"]) <= 30
    assert "2 requests a minute" in problem(answers[2], 429)["detail"]
    assert client.get("/api/cognitive/sessions", headers=bearer(other)).status_code == 200
    problem(client.post("/api/jobs", headers=bearer(key)), 429)
    refused = client.post("/api/jobs", headers=bearer(other))
    assert refused.status_code == 403
    assert refused.headers["X-RateLimit-Limit"] == "600"


def test_addresses_have_rates_of_their_own(own: str) -> None:
    """Where nobody needs a key, each client's; of IPv6, all that is his. Wrong keys spend it, too."""
    client = app(own, API_KEYS="off", REQUESTS_PER_MINUTE="2")

    def status(address: str, headers: Mapping[str, str] = {}) -> int:
        environ = {"REMOTE_ADDR": address}
        return client.get("/api/cognitive/sessions", headers=dict(headers), environ_overrides=environ).status_code

    assert [status("192.0.2.50") for _ in range(3)] == [200, 200, 429]
    assert status("192.0.2.51") == 200
    assert [status(f"2001:db8:0:50::{n}") for n in range(3)] == [200, 200, 429]
    assert status("2001:db8:0:51::1") == 200
    assert [status("192.0.2.52", bearer("wrong")) for _ in range(3)] == [401, 401, 429]
    assert client.get("/livez", environ_overrides={"REMOTE_ADDR": "192.0.2.50"}).status_code == 200
    free = app(own, API_KEYS="off", REQUESTS_PER_MINUTE="0")
    assert "RateLimit" not in free.get("/api/cognitive/sessions").headers


def test_the_document_tells_of_refusals(client: FlaskClient) -> None:
    """401, 403, 429 and 503 of every route that asks for a scope, and of no other."""
    document = json.loads(client.get("/openapi/openapi.json").data)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if scope_of(method.upper(), path):
                assert {"401", "403", "429", "503"} <= set(operation["responses"]), path
            else:
                assert "401" not in operation["responses"], path
