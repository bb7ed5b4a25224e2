"""Answers through a whole farm: equal jobs at once, invalidation meanwhile, and several API processes."""

from __future__ import annotations

import http.client
import json
import socket
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from processes import Site, free_port, until

pytestmark = pytest.mark.farm

MANY = 100
"""More equal jobs than the worker has slots, and than an API process has threads."""


@pytest.fixture(scope="module")
def elsewhere(farm: Site) -> Iterator[Site]:
    """A second API process of the same farm, with a disk of its own."""
    folder = farm.folder / "elsewhere"
    folder.mkdir()
    ports = {"API_PORT": str(free_port()), "ECHO_VAR": str(folder)}
    with Site(folder, farm.env | ports).http():
        yield Site(folder, farm.env | ports)


def asked(text: str, **fields: Any) -> dict[str, Any]:
    return {"input_text": text, "membranes": ["memory"], "options": {"max_tokens": 40, "temperature": 0}} | fields


class Post:
    """A job that is posted over a connection of its own, which stands before."""

    def __init__(self, api: Site, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        head = f"POST /api/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}"
        self._request = f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + text
        self._socket = socket.create_connection(("127.0.0.1", int(api.env["API_PORT"])), 60)

    def __enter__(self) -> Post:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self) -> None:
        self._socket.sendall(self._request)

    def job_id(self) -> str:
        """The accepted job, when the answer is there."""
        answer = http.client.HTTPResponse(self._socket)
        answer.begin()
        assert answer.status == 202, answer.read()
        job_id: str = json.loads(answer.read())["job_id"]
        return job_id


def status_of(answer: Any) -> str:
    status: str = answer.headers["Cache-Status"].removeprefix("deep-tree-echo; ")
    return status


@pytest.mark.timeout(180)
def test_equal_jobs_at_once_have_one_generation(farm: Site, elsewhere: Site) -> None:
    """A hundred of them, sent before any is answered, to two processes: one is generated, the others share it."""
    body = asked(f"Once {uuid.uuid4().hex}.")
    with ExitStack() as open_:
        posts = [open_.enter_context(Post((farm, elsewhere)[number % 2], body)) for number in range(MANY)]
        for post in posts:
            post.send()
        ids = [post.job_id() for post in posts]
    with ThreadPoolExecutor(16) as pool:
        jobs = list(pool.map(farm.ended, ids))
    assert {job["status"] for job in jobs} == {"succeeded"}
    assert len({job["result"]["response_text"] for job in jobs}) == 1
    assert Counter(job["result"]["cache_hit"] for job in jobs) == {True: MANY - 1, False: 1}
    assert sum(job["result"]["usage"]["completion_tokens"] > 0 for job in jobs) == 1
    assert len({job["session_id"] for job in jobs}) == MANY


@pytest.mark.timeout(120)
def test_an_invalidation_during_a_generation_wins(farm: Site) -> None:
    """What was begun before it is given to those who asked before it, and to nobody after it."""
    tokens = 200
    while True:  # until the machine is fast enough for an invalidation within a generation
        tag = uuid.uuid4().hex
        body = asked(f"Void {tag}.", tags=[tag], options={"max_tokens": tokens, "temperature": 0})
        before = farm.post("/api/jobs", body).json["job_id"]
        until(lambda: farm.get(f"/api/jobs/{before}").json["status"] != "queued", "the job runs")  # noqa: B023
        deleted = farm.request("DELETE", f"/api/cache/tags/{tag}").json["deleted_count"]
        if farm.get(f"/api/jobs/{before}").json["status"] == "running":
            break
        tokens *= 2
    assert deleted == 1
    after = farm.post("/api/jobs", body).json["job_id"]
    results = [farm.ended(job_id)["result"] for job_id in (before, after)]
    assert [result["cache_hit"] for result in results] == [False, False]
    again = farm.post("/api/jobs", body, {"Prefer": "wait=60"})
    assert again.json["result"]["cache_hit"] is True  # the second one's
    farm.request("DELETE", f"/api/cache/tags/{tag}")
    assert status_of(farm.post("/api/jobs", body, {"Prefer": "wait=60"})) == "fwd=miss"


def test_an_answer_appears_in_every_process(farm: Site, elsewhere: Site) -> None:
    """Generated for one API process, it is found by another, and then in that one's memory."""
    body = asked(f"Everywhere {uuid.uuid4().hex}.")
    wait = {"Prefer": "wait=60"}
    told = [status_of(api.post("/api/jobs", body, wait)) for api in (farm, elsewhere, elsewhere)]
    assert told == ["fwd=miss", "hit; detail=l2", "hit; detail=l1"]
    assert status_of(elsewhere.post("/api/jobs", body, wait | {"Cache-Control": "no-store"})) == "fwd=bypass"


def test_a_turn_that_waited_in_line_is_answered_from_the_cache(farm: Site) -> None:
    """The worker that lets it go looks the answer up: the same was said before in another session."""
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    texts = [f"{number} {uuid.uuid4().hex}" for number in range(2)]
    for text in texts:
        told = farm.post("/api/jobs", asked(text, session_id=first), {"Prefer": "wait=60"})
        assert told.json["result"]["cache_hit"] is False
    slow = asked("slow", session_id=second, cache=False, options={"max_tokens": 300})
    ids = [farm.post("/api/jobs", slow).json["job_id"]]
    farm.request("DELETE", f"/api/jobs/{ids[0]}")
    ids = [farm.post("/api/jobs", asked(text, session_id=second)).json["job_id"] for text in texts]
    assert all(farm.ended(job_id)["result"]["cache_hit"] for job_id in ids)
