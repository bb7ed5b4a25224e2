"""The workers as instances of a service: the reference's fields, with what the registry knows in them."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from records import a_server

from echo_api import create_app
from echo_tasks import keys
from echo_tasks.registry import Registry
from echo_tasks.settings import Settings


@pytest.fixture
def client(broker_url: str) -> FlaskClient:
    """The API over a database where nobody works."""
    app = create_app(Settings(broker_url=broker_url.removesuffix("/0") + "/7", lb_strategy="weighted"))
    app.extensions["farm"].broker.flushdb()
    return app.test_client()


@pytest.fixture
def registry(client: FlaskClient) -> Registry:
    return client.application.extensions["farm"].registry  # type: ignore[no-any-return]


def test_services_tell_of_their_instances(client: FlaskClient, registry: Registry) -> None:
    """True values, under the names of the reference and under ours."""
    told = {"busy": 3, "waiting": 1, "cpu": 1.5, "memory_bytes": 512 * 10**6, "mean_service_s": 0.25, "answered": 7}
    registry.announce(a_server("a@test", host="h", failed=2, tokens_per_s=40.0, **told), up_s=60)
    registry.announce(a_server("b@test", stalled_s=25.0))
    registry.announce(a_server("c@test"))
    registry.drain("c@test")
    reply = client.get("/api/services").json
    assert reply is not None
    assert (reply["load_balancing_strategy"], reply["auto_scaling_enabled"]) == ("weighted", True)
    service = reply["services"]["cognitive-service"]
    assert (service["healthy_count"], service["total_count"]) == (1, 3)
    first, second, third = service["instances"]
    assert [first["status"], second["status"], third["status"]] == ["healthy", "unhealthy", "draining"]
    expected = {
        "id": "a@test",
        "name": "cognitive-service",
        "host": "h",
        "response_time_ms": 250.0,
        "active_connections": 4,
        "total_requests": 7,
        "error_count": 2,
        "cpu_usage": 1.5,
        "memory_usage": 512.0,
        "load_score": 0.5,
        "slots": 8,
        "tokens_per_s": 40.0,
    }
    assert {name: first[name] for name in expected} == expected
    assert first["started_at"] < first["last_health_check"]
    assert second["response_time_ms"] is None
    listed = client.get("/api/services/cognitive-service/instances").json
    assert listed == service | {"service_name": "cognitive-service", "avg_load_score": 0.1667}


def test_a_service_without_instances_has_no_mean(client: FlaskClient) -> None:
    """It is there nevertheless."""
    listed = client.get("/api/services/cognitive-service/instances").json
    assert listed == {
        "service_name": "cognitive-service",
        "instances": [],
        "healthy_count": 0,
        "total_count": 0,
        "avg_load_score": None,
    }


def test_an_instance_is_asked_to_drain(client: FlaskClient, registry: Registry) -> None:
    """The worker is told at its next heartbeat."""
    registry.announce(a_server("a@test"))
    reply = client.delete("/api/services/cognitive-service/instances/a@test")
    assert reply.status_code == 200
    assert reply.json is not None
    assert {name: reply.json[name] for name in ("instance_id", "status")} == {
        "instance_id": "a@test",
        "status": "draining",
    }
    assert reply.json["timestamp"]
    assert registry.announce(a_server("a@test"))


@pytest.mark.parametrize(
    ("method", "path", "named"),
    [
        ("GET", "/api/services/nobody/instances", "nobody"),
        ("DELETE", "/api/services/nobody/instances/a@test", "nobody"),
        ("DELETE", "/api/services/cognitive-service/instances/z@test", "z@test"),
    ],
)
def test_what_is_not_there_is_not_found(client: FlaskClient, method: str, path: str, named: str) -> None:
    """By name; and nothing is asked of it."""
    reply = client.open(path, method=method)
    assert (reply.status_code, reply.content_type) == (404, "application/problem+json")
    assert reply.json is not None
    assert named in reply.json["detail"]


def test_readiness_wants_a_worker_that_takes_new_work(client: FlaskClient, registry: Registry) -> None:
    """One that drains serves nobody new."""
    registry.announce(a_server("a@test"))
    assert client.get("/readyz").json["checks"]["workers"]["ok"]  # type: ignore[index]
    registry.drain("a@test")
    check = client.get("/readyz").json["checks"]["workers"]  # type: ignore[index]
    assert not check["ok"]
    assert keys.queue("memory") in check["detail"]
    assert client.get("/health").json["workers"][0]["draining"]  # type: ignore[index]
