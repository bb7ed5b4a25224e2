"""What the edge passes on, what it does not, and what it tells of either."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asking import ask, connected, problem
from processes import until

from bench import edge
from bench.edge import Edge
from bench.site import free_port

pytestmark = pytest.mark.farm


def logged(front: Edge, path: str) -> dict[str, Any]:
    """The access log's latest line of a path."""

    def look() -> dict[str, Any] | None:
        lines = [json.loads(line) for line in front.log.read_text().splitlines() if line.startswith("{")]
        return next((line for line in reversed(lines) if line["path"] == path), None)

    found: dict[str, Any] = until(look, f"{path} is in the log", 10)
    return found


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/openapi/swagger", "/api/services"])
def test_the_apis_routes_are_passed_on(front: Edge, path: str) -> None:
    """To the real one."""
    assert ask(front, "GET", path).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "//metrics",
        "/api/../metrics",
        "/api/%2e%2e/metrics",
        "/api/..%2fmetrics",
        "/api/%2e%2e%2fmetrics",
        "/metrics/",
        "/openapi/../metrics",
        "/api/./../metrics?a",
        "/.edge/problem",
        "/.edge/away",
        "/grafana/",
    ],
)
def test_nothing_else_is(front: Edge, path: str) -> None:
    """By no trick of the path: what the edge itself answers names no metric."""
    answer = ask(front, "GET", path)
    assert answer.status in {400, 404}, answer
    assert b"# HELP" not in answer.body


def test_a_path_of_the_caches_is_passed_on_as_it_is(front: Edge) -> None:
    """Slashes and escapes in keys stay."""
    key = "/api/cache/a//b%20c/%C3%A9"
    assert ask(front, "POST", key, {"value": 1}).status in {200, 201}
    assert ask(front, "GET", key).json["key"] == "a//b c/é"


def test_what_the_edge_refuses_is_told_as_a_problem(front: Edge) -> None:
    """A body, a header and a URL that are too large; and nobody may keep that."""
    assert "too large" in problem(ask(front, "POST", "/api/jobs", b"x" * (1024 * 1024 + 1)), 413)
    assert "headers" in problem(ask(front, "GET", "/livez", headers={"X-A": "a" * 9000}), 431)
    assert "URL" in problem(ask(front, "GET", "/livez?" + "a" * 9000), 414)
    assert ask(front, "GET", "/none").headers["Cache-Control"] == "no-store"


def test_what_is_no_http_is_refused(front: Edge) -> None:
    """As a problem, too, and by an end of the connection."""
    with connected(front) as client:
        client.sendall(b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"application/problem+json" in answer


def test_the_apis_errors_pass_as_they_are(front: Edge) -> None:
    """With their fields."""
    answer = ask(front, "POST", "/api/jobs", {"input_text": ""})
    problem(answer, 422)
    assert answer.json["errors"][0]["field"] == "input_text"


def test_the_log_tells_no_secrets(front: Edge) -> None:
    """A line has the path without its query, and no key; the client finds its request by the id that it was told."""
    path = "/api/cache/logged"
    answer = ask(front, "GET", f"{path}?key=query-secret", headers={"Authorization": "Bearer head-secret"})
    line = logged(front, path)
    assert (line["status"], line["method"], line["client"]) == (answer.status, "GET", "127.0.0.1")
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert line["tls"] == "TLSv1.3"
    assert "secret" not in front.log.read_text()


def test_a_refused_request_is_logged_as_it_was(front: Edge) -> None:
    """By its own method and path, not those of the page that tells why."""
    ask(front, "POST", "/api/too-large", b"x" * (1024 * 1024 + 1))
    line = logged(front, "/api/too-large")
    assert (line["method"], line["status"], line["api"]) == ("POST", 413, "")


def test_pages_of_the_operators_are_for_their_networks_alone() -> None:
    """Flower's, here: loopback is told that it does not answer, or that it may not ask at all."""
    pages = {"EDGE_FLOWER": f"127.0.0.1:{free_port()}"}
    with edge.before([1], pages) as inside, edge.before([1], pages | {"EDGE_PRIVATE": "192.0.2.0/24"}) as outside:
        assert ask(inside, "GET", "/flower/").status == 503
        assert "operators" in problem(ask(outside, "GET", "/flower/"), 403)


def test_answers_are_compressed_for_those_who_take_it(front: Edge) -> None:
    """JSON, over a kilobyte; the answer says that it depends on that."""
    plain = ask(front, "GET", "/openapi/openapi.json")
    small = ask(front, "GET", "/openapi/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert small.headers["Content-Encoding"] == "gzip"
    assert len(small.body) < len(plain.body) / 2
    assert "Accept-Encoding" in small.headers["Vary"]
