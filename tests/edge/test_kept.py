"""What the edge keeps, and for whom: the API's headers say it."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking import ADMIN_KEY, Open, ask
from processes import Answer, Site, until

from bench import edge
from bench.edge import Edge

pytestmark = pytest.mark.farm

DOCUMENT = "/openapi/openapi.json"


@pytest.fixture
def front(without_keys: Open) -> Edge:
    """An edge before an API that needs no key: elsewhere no answer of a job is kept."""
    return without_keys.front


def status(answer: Answer) -> str:
    """The edge's own part of Cache-Status: the last."""
    return answer.headers["Cache-Status"].rpartition(",")[2].strip()


def ended(front: Edge) -> str:
    """The path of a job that has ended."""
    job = ask(front, "POST", "/api/jobs", {"input_text": "a", "options": {"max_tokens": 1}}).json
    assert ask(front, "DELETE", job["links"]["cancel"]).status == 200
    return str(job["links"]["self"])


@pytest.mark.parametrize("what", ["document", "job"])
def test_a_miss_and_then_a_hit(front: Edge, what: str) -> None:
    """The same answer; a client that has it is told so by the edge itself."""
    path = f"{DOCUMENT}?first" if what == "document" else ended(front)
    first, second = ask(front, "GET", path), ask(front, "GET", path)
    assert (status(first), status(second)) == ("edge; fwd=uri-miss", "edge; hit")
    assert (first.body, first.headers["ETag"]) == (second.body, second.headers["ETag"])
    known = ask(front, "GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert (known.status, known.body) == (304, b"")


def test_a_key_has_what_is_there_now(front: Edge) -> None:
    """With a key nothing is looked up and nothing is kept; its holder is told by the API when it has it already."""
    path = ended(front)
    key = {"Authorization": f"Bearer {ADMIN_KEY}"}
    mine = ask(front, "GET", path, headers=key)
    assert (mine.status, status(mine)) == (200, "edge; fwd=bypass")
    assert "private" in mine.headers["Cache-Control"]
    assert status(ask(front, "GET", path)) == "edge; fwd=uri-miss"
    assert status(ask(front, "GET", path)) == "edge; hit"
    for headers in (key, {"X-API-Key": ADMIN_KEY}):
        assert status(ask(front, "GET", path, headers=headers)) == "edge; fwd=bypass"
    assert ask(front, "GET", path, headers=key | {"If-None-Match": mine.headers["ETag"]}).status == 304


def test_what_goes_on_is_not_kept(front: Edge) -> None:
    """Nor is what fails."""
    job = ask(front, "POST", "/api/jobs", {"input_text": "a", "options": {"max_tokens": 3000}}).json
    for path in (job["links"]["self"], "/api/services", "/api/jobs/" + "2" * 32, "/readyz"):
        assert [status(ask(front, "GET", path)) for _ in range(2)] == ["edge; fwd=uri-miss"] * 2
    ask(front, "DELETE", job["links"]["cancel"])


def test_what_is_stale_is_asked_again_by_its_validator(tmp_path: Path) -> None:
    """From an API that lets its answers be kept for a second: then 304 is all that it has to say."""
    site = Site(tmp_path)
    (tmp_path / "brief.py").write_text(BRIEF)
    port = int(site.env["API_PORT"])
    command = ("python", "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--chdir", str(tmp_path), "brief:application")
    with site.run("brief", *command) as api, edge.before([port], {}) as front:
        until(lambda: site.get("/api/brief").status == 200, "it answers")
        first = ask(front, "GET", "/api/brief")
        again = until(lambda: _other(ask(front, "GET", "/api/brief"), "edge; hit"), "it is stale", 10)
        assert (status(first), status(again)) == ("edge; fwd=uri-miss", "edge; fwd=stale; fwd-status=304")
        assert first.body == again.body
        api.stop()
        until(lambda: _other(ask(front, "GET", "/api/brief"), "edge; hit"), "it is stale", 10)
        assert status(ask(front, "GET", "/api/brief")) == "edge; hit; detail=stale"  # nobody can be asked
    assert "asked 304" in api.text()


def _other(answer: Answer, than: str) -> Answer | None:
    return answer if status(answer) != than else None


BRIEF = """
def application(environ, start_response):
    is_known = environ.get("HTTP_IF_NONE_MATCH") == '"a"'
    print("asked", 304 if is_known else 200, flush=True)
    kept = [("Cache-Control", "public, max-age=0, s-maxage=1"), ("ETag", '"a"')]
    start_response("304 Not Modified" if is_known else "200 OK", kept)
    return [] if is_known else [b"{}"]
"""
