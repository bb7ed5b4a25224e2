"""The cache over HTTP: values of clients under any key, tags, levels, statistics, and bad input."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from processes import Site, until

from echo_api import create_app
from echo_tasks.settings import load


def an_api(site: Site, broker_url: str, store_url: str, folder: str) -> FlaskClient:
    """A process's API, with a disk of its own: as if it were on another machine."""
    env = {"BROKER_URL": broker_url, "CACHE_URL": store_url, "ECHO_VAR": f"{site.folder}/{folder}"}
    return create_app(load(env)).test_client()


@pytest.fixture(scope="module")
def client(site: Site, broker_url: str, store_url: str) -> Iterator[FlaskClient]:
    yield from _started(an_api(site, broker_url, store_url, "one"))


@pytest.fixture(scope="module")
def other(site: Site, broker_url: str, store_url: str) -> Iterator[FlaskClient]:
    """Another process, as far as the cache can tell."""
    yield from _started(an_api(site, broker_url, store_url, "other"))


def _started(client: FlaskClient) -> Iterator[FlaskClient]:
    farm = client.application.extensions["farm"]
    farm.assembly.start()
    until(farm.assembly.changes.are_heard, "changes are heard")
    yield client
    farm.assembly.stop()


@pytest.fixture
def key() -> str:
    return uuid.uuid4().hex


def put(client: FlaskClient, key: str, value: Any, **fields: Any) -> Any:
    answer = client.post(f"/api/cache/{quote(key, safe='')}", json={"value": value} | fields)
    assert answer.status_code == 200, answer.data
    return answer.json


def got(client: FlaskClient, key: str) -> Any:
    """The answer to reading a key; None for 404."""
    answer = client.get(f"/api/cache/{quote(key, safe='')}")
    assert answer.status_code in {200, 404}, answer.data
    return answer.json if answer.status_code == 200 else None


def faults(answer: Any) -> list[str]:
    """The fields that a refusal names."""
    assert answer.status_code == 422, answer.data
    assert answer.content_type == "application/problem+json"
    return [error["field"] for error in answer.get_json(force=True)["errors"]]


@pytest.mark.parametrize("value", ["text", "", 17, 0.5, None, [], {"a": [1, {"b": "ü"}]}, True])
def test_a_value_comes_back_as_it_was(client: FlaskClient, key: str, value: Any) -> None:
    """Any JSON, with where it was found and how old it is."""
    told = put(client, key, value)
    assert (told["key"], told["status"], told["cache_level"]) == (key, "cached", "L1")
    found = got(client, key)
    assert (found["value"], found["cache_hit"], found["cache_level"], found["access_count"]) == (value, True, "L1", 1)
    assert 0 <= found["age_seconds"] < 60
    assert got(client, key)["access_count"] == 2


@pytest.mark.parametrize(
    "name", ["a/b", "a//b", "/", "ü €", "?x=1&y", "#", "%", "..", "new\nline", "stats2", "k" * 1000]
)
def test_a_key_may_have_any_characters(client: FlaskClient, key: str, name: str) -> None:
    """Slashes, spaces, percent signs and line breaks among them."""
    name = f"{name}{key[:8]}"
    put(client, name, name)
    assert got(client, name)["value"] == name
    assert got(client, f"{name}x") is None
    assert client.delete(f"/api/cache/{quote(name, safe='')}").status_code == 200
    assert got(client, name) is None


@pytest.mark.parametrize("name", ["stats", "health", "bulk", "tags/a", "level/L1", "cleanup"])
def test_a_literal_routes_name_is_a_key_for_bulk(client: FlaskClient, name: str) -> None:
    """What the paths cannot name, operations can."""
    operations = [
        {"type": "set", "key": name, "value": 1},
        {"type": "get", "key": name},
        {"type": "delete", "key": name},
    ]
    results = client.post("/api/cache/bulk", json={"operations": operations}).json["results"]
    assert [result["success"] for result in results] == [True] * 3
    assert client.get("/api/cache/stats").json["overall"]


def test_every_process_sees_what_another_has_put_or_deleted(client: FlaskClient, other: FlaskClient, key: str) -> None:
    """The latest value counts, although each keeps copies in memory and on its disk."""
    put(client, key, "old")
    assert got(other, key)["cache_level"] == "L2"
    assert got(other, key)["cache_level"] == "L1"
    put(client, key, "new")
    until(lambda: got(other, key)["value"] == "new", "the new value is seen")
    assert client.delete(f"/api/cache/{key}").status_code == 200
    until(lambda: got(other, key) is None, "the key is gone")
    assert client.delete(f"/api/cache/{key}").status_code == 404


def test_tags_make_values_void_everywhere(client: FlaskClient, other: FlaskClient, key: str) -> None:
    """Those with any of the tags, and no others; the count is of the keys that carried them."""
    red, blue = f"red-{key}", f"blue:{key}"
    put(client, f"{key}.1", 1, tags=[red])
    put(client, f"{key}.2", 2, tags=[blue, red])
    put(client, f"{key}.3", 3, tags=[blue])
    put(client, f"{key}.4", 4)
    assert [got(other, f"{key}.{n}")["value"] for n in (1, 2, 3, 4)] == [1, 2, 3, 4]
    told = client.delete(f"/api/cache/tags/{red},unknown-{key}").json
    assert (told["tags"], told["deleted_count"]) == ([red, f"unknown-{key}"], 2)
    until(lambda: got(other, f"{key}.1") is None, "the copy in another process is void")
    for api in (client, other):
        assert [got(api, f"{key}.{n}") is None for n in (1, 2, 3, 4)] == [True, True, False, False]
    put(client, f"{key}.1", "again", tags=[red])
    assert got(other, f"{key}.1")["value"] == "again"


def test_a_value_outlives_every_tier_but_one(client: FlaskClient, other: FlaskClient, key: str) -> None:
    """Found further down it comes up again; a level that is cleared is so in every process."""
    put(client, key, "deep")
    assert got(other, key)["value"] == "deep"
    for level in ("L1", "L2"):
        assert client.delete(f"/api/cache/level/{level}").json["level"] == level
    assert got(client, key)["cache_level"] == "L3"
    assert got(client, key)["cache_level"] == "L1"
    until(lambda: got(other, key)["cache_level"] == "L2", "the other's memory is cleared, too")
    assert client.delete("/api/cache/level/L3").json["cleared_count"] >= 1
    put(client, key, "last", cache_level="L3")
    assert got(client, key)["cache_level"] == "L3"


def test_a_value_expires(client: FlaskClient, key: str) -> None:
    """After its own time, and is swept by a cleanup."""
    put(client, key, "short", ttl_seconds=0.05)
    until(lambda: got(client, key) is None, "the value expires")
    put(client, key, "short", ttl_seconds=0.05)
    until(lambda: client.post("/api/cache/cleanup").json["removed_count"] >= 1, "an expired value is swept")
    assert client.post("/api/cache/cleanup", json={}).json["status"] == "cleanup_completed"


def test_many_operations_are_done_in_their_order(client: FlaskClient, key: str) -> None:
    """Each tells what became of it."""
    operations = [
        {"type": "get", "key": key},
        {"type": "set", "key": key, "value": {"n": 1}, "ttl_seconds": 60, "cache_level": "L2", "tags": ["t"]},
        {"type": "get", "key": key},
        {"type": "delete", "key": key},
        {"type": "delete", "key": key},
    ]
    results = client.post("/api/cache/bulk", json={"operations": operations}).json["results"]
    assert [(one["operation"], one["success"], one.get("value"), one.get("error")) for one in results] == [
        ("get", False, None, "no such key"),
        ("set", True, None, None),
        ("get", True, {"n": 1}, None),
        ("delete", True, None, None),
        ("delete", False, None, "no such key"),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"value": 1, "ttl_seconds": -1}, "ttl_seconds"),
        ({"value": 1, "ttl_seconds": 0}, "ttl_seconds"),
        ({"value": 1, "ttl_seconds": 10**9}, "ttl_seconds"),
        ({"value": 1, "ttl_seconds": "60"}, "ttl_seconds"),
        ({"value": 1, "cache_level": "L4"}, "cache_level"),
        ({"value": 1, "cache_level": "l1"}, "cache_level"),
        ({"value": 1, "tags": ["a b"]}, "tags.0"),
        ({"value": 1, "tags": [""]}, "tags.0"),
        ({"value": 1, "tags": ["x" * 65]}, "tags.0"),
        ({"value": 1, "tags": ["a", "a"]}, "tags"),
        ({"value": 1, "tags": [f"t{n}" for n in range(17)]}, "tags"),
        ({"value": 1, "key": "another"}, "key"),
        ({"value": "x" * 1048577}, "value"),
        ({"value": float("nan")}, "value"),
        ({"ttl_seconds": 60}, "value"),
        ({"value": 1, "unknown": 1}, "unknown"),
    ],
)
def test_a_wrong_field_is_named(client: FlaskClient, key: str, body: Any, field: str) -> None:
    """422, and nothing is kept."""
    assert faults(client.post(f"/api/cache/{key}", json=body)) == [field]
    assert got(client, key) is None


def test_half_a_surrogate_pair_is_no_value(client: FlaskClient, key: str) -> None:
    """JSON can spell it, UTF-8 cannot."""
    answer = client.post(f"/api/cache/{key}", data=rb'{"value": "\ud800"}', content_type="application/json")
    assert faults(answer) == ["value"]
    assert "codec" not in answer.text


def test_a_value_of_the_full_size_is_taken(client: FlaskClient, key: str) -> None:
    """A mebibyte of JSON, quotes and all."""
    value = "x" * (1048576 - 2)
    put(client, key, value)
    assert got(client, key)["value"] == value


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_key_over_a_kibibyte_is_refused(client: FlaskClient, method: str) -> None:
    """Counted in bytes."""
    body = {"value": 1} if method == "POST" else None
    long = quote("ü" * 513)
    assert faults(client.open(f"/api/cache/{long}", method=method, json=body)) == ["key"]


@pytest.mark.parametrize(
    ("operations", "field"),
    [
        ([], "operations"),
        ([{"type": "get", "key": "k"}] * 1001, "operations"),
        ([{"type": "get", "key": "k"}, {"type": "get", "key": ""}], "operations.1.key"),
        ([{"type": "get", "key": "k" * 1025}], "operations.0.key"),
        ([{"type": "set", "key": "k", "value": "x" * 1048577}], "operations.0.value"),
        ([{"type": "set", "key": "k"}], "operations.0"),
        ([{"type": "get", "key": "k", "value": 1}], "operations.0"),
        ([{"type": "move", "key": "k"}], "operations.0.type"),
        ([{"type": "set", "key": "k", "value": 1, "ttl_seconds": -1}], "operations.0.ttl_seconds"),
    ],
)
def test_bad_operations_are_refused_together(client: FlaskClient, operations: list[Any], field: str) -> None:
    """422 that names the operation, and none is done."""
    assert field in faults(client.post("/api/cache/bulk", json={"operations": operations}))


@pytest.mark.parametrize("path", ["/api/cache/tags/a%20b", "/api/cache/tags/a,,b", "/api/cache/tags/a,a"])
def test_malformed_tags_are_refused(client: FlaskClient, path: str) -> None:
    """422 that names the tags."""
    assert faults(client.delete(path)) == ["tags"]


@pytest.mark.parametrize("level", ["L0", "l1", "all", "L1/x"])
def test_an_unknown_level_is_refused(client: FlaskClient, level: str) -> None:
    """422 with the known ones."""
    assert faults(client.delete(f"/api/cache/level/{level}")) == ["level"]


def test_statistics_count_a_request_once(site: Site, broker_url: str, store_url: str, key: str) -> None:
    """A miss of all tiers is one request; so is a hit of the last."""
    client = an_api(site, broker_url, store_url, "counting")
    got(client, key)
    put(client, key, "words " * 200, cache_level="L2")
    got(client, key)
    stats = client.get("/api/cache/stats").json
    assert (stats["overall"]["total_requests"], stats["overall"]["total_hits"]) == (2, 1)
    assert stats["overall"]["hit_ratio"] == 0.5
    levels = [stats[name] for name in ("l1", "l2", "l3")]
    assert [(level["requests"], level["hits"]) for level in levels] == [(2, 0), (2, 1), (1, 0)]
    assert stats["l2"]["saved_bytes"] > 500
    assert all(level["entries"] >= 1 and level["size_bytes"] > 0 for level in levels)
    metrics = client.get("/metrics").text
    for line in ("cache_hit_ratio 0.5", "deep_echo_cache_requests 2.0", 'cache_level_hits{level="L2"} 1.0'):
        assert f"\n{line}\n" in metrics


def test_the_health_names_a_tier_that_is_away(site: Site, broker_url: str, client: FlaskClient, key: str) -> None:
    """Without the shared server the others serve on, and it is told."""
    assert client.get("/api/cache/health").json["status"] == "healthy"
    alone = an_api(site, broker_url, "redis://127.0.0.1:1/0", "alone")
    put(alone, key, 1)
    assert got(alone, key)["value"] == 1
    health = alone.get("/api/cache/health").json
    assert (health["status"], health["tiers_away"]) == ("degraded", ["L2"])
    assert health["cache_stats"]["l2"] is None
    assert health["entry_count"] >= 1


def test_without_the_broker_nothing_can_be_kept(site: Site, store_url: str, key: str) -> None:
    """503: a value whose copies could not be made void is not taken."""
    lost = an_api(site, "redis://127.0.0.1:1/0", store_url, "lost")
    answer = lost.post(f"/api/cache/{key}", json={"value": 1})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert got(lost, key) is None
