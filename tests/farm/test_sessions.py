"""Sessions that outlive workers and stores: what dies changes how long a turn takes, never what is said."""

from __future__ import annotations

import json
import random
import signal
import uuid
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import redis
from processes import Site

from echo_tasks import keys

pytestmark = pytest.mark.farm

TURNS = (
    "My name is Zorla. I live in Brimtak.",
    "What is two plus three?",
    "My job is baker.",
    "Where do I live?",
    "What is my job?",
)


@pytest.fixture
def own(tmp_path: Path) -> Site:
    """A site of this test's own, whose processes it may harm."""
    return Site(tmp_path)


def say(site: Site, session_id: str, text: str) -> dict[str, Any]:
    """The result of a turn, computed anew."""
    options = {"temperature": 0, "cache": False}
    body = {"input_text": text, "session_id": session_id, "processing_options": options}
    answer = site.post("/api/cognitive/process", body)
    assert answer.status == 200, answer.body
    result: dict[str, Any] = answer.json
    return result


@pytest.mark.timeout(240)
def test_a_session_outlives_workers_and_the_store(own: Site) -> None:
    """Each time a worker is killed between two turns, the next one says what it would have said.

    It finds what was read before; where the store has died as well, the past is read again, from the ledger.
    """
    told, lost, expected, undisturbed = (uuid.uuid4().hex for _ in range(4))
    others = [text.replace("Zorla", "Marn").replace("Brimtak", "Osk") for text in TURNS]  # whose states nobody has
    with own.server("broker"), own.http():
        with own.server("store") as store:
            with own.worker(name="first") as first:
                before = [say(own, told, text)["response_text"] for text in TURNS[:-1]]
                for text in others[:-1]:
                    say(own, lost, text)
                first.stop(signal.SIGKILL)
            with own.worker(name="second") as second:
                result = say(own, told, TURNS[-1])
                second.stop(signal.SIGKILL)
            store.stop(signal.SIGKILL)
        with own.server("store"), own.worker(name="third"):
            again = say(own, lost, others[-1])
            alone = [say(own, expected, text)["response_text"] for text in TURNS]  # nothing of it is in any memory
            *_, last = [say(own, undisturbed, text) for text in others]
    assert result["usage"]["cached_tokens"] > result["usage"]["prompt_tokens"] / 2
    assert [*before, result["response_text"]] == alone
    assert again["response_text"] == last["response_text"]


def test_turns_posted_at_once_are_answered_in_order(farm: Site, broker: redis.Redis) -> None:
    """Thirty sessions of four turns, all at once: each history is whole, in the order of acceptance."""
    sessions = [uuid.uuid4().hex for _ in range(30)]
    turns = [(session_id, number) for session_id in sessions for number in range(4)]
    random.Random(5).shuffle(turns)

    def ended(turn: tuple[str, int]) -> Any:
        """The turn's job, waited for by the request itself."""
        session_id, number = turn
        options = {"max_tokens": 2, "temperature": 0}
        body = {"input_text": f"{number}", "session_id": session_id, "membranes": ["memory"], "options": options}
        answer = farm.post("/api/jobs", body | {"cache": False}, {"Prefer": "wait=60"})
        assert answer.status in {200, 202}, answer.body
        return farm.ended(answer.json["job_id"])

    with ThreadPoolExecutor(len(turns)) as pool:
        jobs = list(pool.map(ended, turns))
    assert {job["status"] for job in jobs} == {"succeeded"}
    for session_id in sessions:
        own = [(job, number) for job, (of, number) in zip(jobs, turns, strict=True) if of == session_id]
        own.sort(key=lambda pair: pair[0]["created_at"])
        history = [json.loads(turn) for turn in broker.lrange(keys.turns(session_id), 0, -1)]
        said = [(str(number), job["result"]["response_text"]) for job, number in own]
        assert [(turn["user"], turn["assistant"]) for turn in history] == said
        for (before, _), (after, _) in pairwise(own):
            assert after["started_at"] >= before["finished_at"]
        assert not broker.exists(keys.line(session_id))


def test_a_cancelled_turn_lets_the_next_one_go(farm: Site) -> None:
    """Whether it runs or waits in line; the next turn knows nothing of it."""
    session_id = uuid.uuid4().hex
    body = {"session_id": session_id, "cache": False, "membranes": ["memory"], "options": {"max_tokens": 4000}}
    posts = [farm.post("/api/jobs", body | {"input_text": text}).json["job_id"] for text in ("long", "waits")]
    last = farm.post("/api/jobs", body | {"input_text": "last", "options": {"max_tokens": 2}}).json["job_id"]
    for job_id in reversed(posts):
        assert farm.request("DELETE", f"/api/jobs/{job_id}").json["status"] == "cancelled"
    assert farm.ended(last)["status"] == "succeeded"


def test_what_was_read_before_is_told_as_cached(farm: Site) -> None:
    """A second job shares the templates of the first, and no more."""
    first, second = (say(farm, uuid.uuid4().hex, f"Job {uuid.uuid4().hex}.") for _ in range(2))
    assert 0 < second["usage"]["cached_tokens"] < second["usage"]["prompt_tokens"]
    assert second["usage"]["cached_tokens"] >= first["usage"]["cached_tokens"]
