"""An update of every process under load, and its rollback: nobody who tries again after a 503 sees any of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from crowd import CONVERSATION, Asked, ask, crowd
from releases import THIS, Release, previous
from rolling import Rolling
from verdict import Answers, Verdict, judge, table

from echo_tasks import keys, schema

pytestmark = [pytest.mark.farm, pytest.mark.long, pytest.mark.timeout(400)]

SCRIPTS = (0, 2, 3)
PATIENCE_S = 60

ON_503 = frozenset({503})
"""What clients try again after."""

SETTINGS = {
    "ECHO_SLOTS": "4",
    "ECHO_THREADS": "1",  # several workers share the machine
    "SCALE_ACTUATOR": "none",
    "MAX_CONCURRENT_SESSIONS": "100000",
    "REQUESTS_PER_MINUTE": "0",
}

CACHED = {"input_text": "What is two plus three?", "options": {"temperature": 0, "max_tokens": 48}}


@pytest.fixture
def before(tmp_path: Path) -> Release:
    """The previous release."""
    return previous(tmp_path / "before")


@pytest.fixture
def farm(tmp_path: Path, before: Release) -> Iterator[Rolling]:
    """A farm of it."""
    made = Rolling(tmp_path, before, SETTINGS)
    try:
        made.start()
        yield made
    finally:
        made.end()


def is_this_code(farm: Rolling, broker: redis.Redis) -> set[bool]:
    """Whether API and workers run this tree's code, by what they say that the previous release does not know."""
    workers = [json.loads(broker.get(keys.worker(f"{name}@test"))) for name in ("w1", "w2")]
    return {"schema" in farm.site.get("/health").json, *("reads" in worker for worker in workers)}


def say(farm: Rolling, place: int) -> str:
    """The answer to a line of the conversation, in a session that outlives the releases."""
    asked = Asked(0, place, CONVERSATION[place], "long", time.monotonic())
    ask(farm.site, asked, PATIENCE_S, ON_503)
    return asked.answer or ""


def cached(farm: Rolling) -> str:
    """The answer to what was asked before any update."""
    job: dict[str, Any] = farm.site.post("/api/jobs", CACHED, {"Prefer": "wait=30"}).json
    return str(job["result"]["response_text"])


def under_load(farm: Rolling, broker: redis.Redis, expected: Answers, name: str, act: Callable[[], None]) -> Verdict:
    """What became of the jobs of a crowd that tries again after a 503, and after nothing else."""
    farm.strikes.clear()
    with crowd(farm.site, SCRIPTS, PATIENCE_S, ON_503) as asked:
        act()
    verdict = judge(name, asked, expected, farm.strikes, broker)
    print(table([verdict]))
    return verdict


def test_an_update_and_its_rollback_cost_nobody_anything(farm: Rolling, before: Release) -> None:
    """From the previous release to this one and back: no request fails, no job is lost, doubled or answered wrongly.

    A session goes on with what it remembers, and what was answered before is answered the same.
    """
    with redis.Redis.from_url(farm.site.broker_url, decode_responses=True) as broker:
        with crowd(farm.site, SCRIPTS, PATIENCE_S, ON_503) as asked:
            pass
        expected = {(one.script, one.place): one.answer or "" for one in asked}
        assert is_this_code(farm, broker) == {False}
        assert set(farm.versions().values()) == {before.version}
        assert [say(farm, place) for place in (0, 1)] == [expected[0, 0], expected[0, 1]]
        known = cached(farm)

        updated = under_load(farm, broker, expected, "update", lambda: farm.update(THIS))
        assert not updated.problems, "\n".join(updated.problems)
        assert is_this_code(farm, broker) == {True}
        assert set(farm.versions().values()) == {THIS.version}
        assert schema.stored(broker).number == schema.LATEST
        assert say(farm, 2) == expected[0, 2]
        assert cached(farm) == known

        rolled_back = under_load(farm, broker, expected, "rollback", lambda: farm.roll_back(before))
        assert not rolled_back.problems, "\n".join(rolled_back.problems)
        assert is_this_code(farm, broker) == {False}
        assert say(farm, 3) == expected[0, 3]
        assert cached(farm) == known
        assert broker.zcard(keys.DEAD_LETTERS) == 0
