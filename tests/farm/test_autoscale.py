"""Celery's autoscaler in a live worker: slots follow occupancy, and fetching follows slots."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import redis
from celery import Celery
from celery.bin.worker import Autoscale
from processes import PYTHON, ROOT, Site, until

from echo_tasks.errors import SettingsError

pytestmark = [pytest.mark.farm, pytest.mark.timeout(240)]

LEAST, MOST = 2, 8
WORKER = "worker@test"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Site]:
    """A farm of one worker, whose idle slots go after a second; the bounds are given the wrong way round.

    Its engine is slow enough for a step to outlast several of these windows.
    """
    env = {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "3", "AUTOSCALE_KEEPALIVE": "1"}
    site = Site(tmp_path_factory.mktemp("autoscale"), env)
    options = (f"--autoscale={LEAST},{MOST}", "-I", "tests.farm.unhurried")
    with site.server("broker"), site.server("store"), site.http(), site.worker(*options):
        yield site


@pytest.fixture
def celery(own: Site) -> Iterator[Celery]:
    """Celery as an operator's client. The worker has its bounds again, and nothing to do, when a test is over."""
    celery = Celery(broker=own.broker_url)
    yield celery
    for job_id in submitted:
        own.request("DELETE", f"/api/jobs/{job_id}")
    submitted.clear()
    autoscale(celery, MOST, LEAST)
    until(lambda: slots(celery) == (LEAST, LEAST, LEAST), "the worker is idle again")


submitted: list[str] = []


def submit(own: Site, count: int) -> list[str]:
    """Post so many long jobs of one membrane."""
    body = {
        "input_text": "Hello.",
        "membranes": ["memory"],
        "options": {"max_tokens": 4096, "temperature": 0},
        "cache": False,
    }
    jobs = [str(own.post("/api/jobs", body).json["job_id"]) for _ in range(count)]
    submitted.extend(jobs)
    return jobs


def statuses(own: Site, jobs: list[str]) -> list[str]:
    return [own.get(f"/api/jobs/{job_id}").json["status"] for job_id in jobs]


def stats(celery: Celery) -> dict[str, Any]:
    told: dict[str, Any] = (celery.control.inspect(limit=1).stats() or {WORKER: {}})[WORKER]
    return told


def slots(celery: Celery) -> tuple[int, int, int] | None:
    """The slots by autoscaler, pool and fetching."""
    if not (told := stats(celery)):
        return None
    return told["autoscaler"]["current"], told["pool"]["max-concurrency"], told["prefetch_count"]


def autoscale(celery: Celery, most: int | None, least: int | None) -> dict[str, str]:
    """The worker's reply to `control.autoscale`."""
    ((reply,),) = [list(one.values()) for one in celery.control.autoscale(most, least, reply=True, timeout=5, limit=1)]
    answer: dict[str, str] = reply
    return answer


def record(own: Site) -> dict[str, Any]:
    """What the worker has announced of itself."""
    with redis.Redis.from_url(own.broker_url) as broker:
        told: dict[str, Any] = json.loads(broker.get(f"echo:worker:{WORKER}"))
        return told


def test_an_idle_worker_has_the_least_and_fetches_for_no_more(own: Site, celery: Celery) -> None:
    """Whatever ECHO_SLOTS says; and it counts in the farm for all that it may grow to."""
    assert slots(celery) == (LEAST, LEAST, LEAST)
    told = stats(celery)
    assert told["pool"]["implementation"] == "workers.pool:TaskPool"
    assert told["pool"]["threads"] == LEAST
    assert (told["autoscaler"]["max"], told["autoscaler"]["min"], told["autoscaler"]["occupancy"]) == (MOST, LEAST, 0)
    assert record(own)["slots"] == MOST


def test_slots_follow_occupancy_and_no_running_step_is_stopped(own: Site, celery: Celery) -> None:
    """Up in one jump as far as what waits needs, and down when it is over, under a step that goes on."""
    jobs = submit(own, 1)
    until(lambda: statuses(own, jobs) == ["running"], "one runs")
    jobs += submit(own, MOST)
    until(lambda: slots(celery) == (MOST, MOST, MOST), "slots follow the backlog")
    until(lambda: stats(celery)["pool"]["busy"] == MOST, "all of them are used")
    until(lambda: stats(celery)["autoscaler"]["occupancy"] > 0.99, "and are all the time")
    assert statuses(own, jobs).count("running") == MOST, "one waits where others could take it"
    for job_id in jobs[1:]:
        own.request("DELETE", f"/api/jobs/{job_id}")
    # The one that runs is a quarter of four slots, and a third of three: more than the lower threshold.
    until(lambda: slots(celery) == (3, 3, 3), "slots go when they are idle")
    until(lambda: stats(celery)["pool"]["threads"] == 3, "and so do threads")
    assert statuses(own, jobs[:1]) == ["running"]
    assert own.get(f"/api/jobs/{jobs[0]}").json["attempts"] == 1, "and has not begun anew"
    assert record(own)["slots"] == MOST
    jumps = [line for line in (own.folder / "worker.log").read_text().splitlines() if "slots follow" in line]
    assert f"slots={MOST}" in jumps[0], jumps


def test_the_bounds_are_moved_by_control(own: Site, celery: Celery) -> None:
    """Slots, fetching and capacity follow at once, both ways, under running steps."""
    assert "max=5 min=4" in autoscale(celery, 5, 4)["ok"]
    assert slots(celery) == (4, 4, 4)
    until(lambda: record(own)["slots"] == 5, "the record follows")
    jobs = submit(own, MOST)
    until(lambda: slots(celery) == (5, 5, 5), "as far as the bound")
    until(lambda: statuses(own, jobs).count("running") >= 5, "all are used")
    begun = [job_id for job_id in jobs if statuses(own, [job_id]) == ["running"]]
    assert "max=3 min=1" in autoscale(celery, 3, 1)["ok"]
    assert slots(celery) == (3, 3, 3)
    assert set(statuses(own, begun)) <= {"running", "succeeded"}, "none that ran is handed back"


def test_slots_follow_after_a_lost_connection_too(own: Site, celery: Celery) -> None:
    """The worker fetches for the slots that it has, not for those that it may have."""
    jobs = submit(own, 1)
    until(lambda: statuses(own, jobs) == ["running"], "one runs")
    with redis.Redis.from_url(own.broker_url) as broker:
        for connection in psutil.Process(record(own)["pid"]).net_connections("tcp"):
            with suppress(redis.ResponseError):  # one to another server
                broker.client_kill(f"127.0.0.1:{connection.laddr.port}")
    until(lambda: slots(celery) in ((LEAST, LEAST, 1), (LEAST, LEAST, LEAST)), "it is back, and no fuller")
    jobs += submit(own, MOST)
    until(lambda: slots(celery) == (MOST, MOST, MOST), "slots follow the backlog")
    until(lambda: statuses(own, jobs).count("running") == MOST, "all of them are used")


@pytest.mark.parametrize(("most", "least"), [(3, 4), (1, None), (MOST + 1, 1), (0, 0), (4, -1)])
def test_bounds_that_cannot_be_are_refused(celery: Celery, most: int, least: int | None) -> None:
    """Crossed ones, none, and more than the engine has slots: the reply says what may be, and nothing moves."""
    assert f"1 <= min <= max <= {MOST}" in autoscale(celery, most, least)["error"]
    assert slots(celery) == (LEAST, LEAST, LEAST)


def test_the_pool_is_the_autoscalers(celery: Celery) -> None:
    """Growing and shrinking it by hand is refused, as in Celery."""
    for command in (celery.control.pool_grow, celery.control.pool_shrink):
        ((reply,),) = [list(one.values()) for one in command(1, reply=True, limit=1)]
        assert "autoscale" in reply["error"]
    assert slots(celery) == (LEAST, LEAST, LEAST)


def test_flower_shows_the_slots(own: Site, celery: Celery) -> None:
    """Its API's word of the worker follows, and its control moves the bounds."""
    url = f"http://127.0.0.1:{own.env['FLOWER_PORT']}"
    free = {"FLOWER_UNAUTHENTICATED_API": "true"}
    with own.run("flower", PYTHON, "-m", "celery", "-A", "echo_tasks", "flower", env=free):

        def shown() -> tuple[int, int] | None:
            try:
                with urllib.request.urlopen(f"{url}/api/workers?refresh=1", timeout=10) as reply:  # noqa: S310
                    told = json.load(reply).get(WORKER, {}).get("stats")
            except OSError:
                return None
            return told and (told["autoscaler"]["current"], told["pool"]["max-concurrency"])

        until(lambda: shown() == (LEAST, LEAST), "Flower knows the worker")
        submit(own, MOST)
        until(lambda: shown() == (MOST, MOST), "Flower shows more slots")
        moved = urllib.request.Request(f"{url}/api/worker/pool/autoscale/{WORKER}?min=1&max=3", method="POST")  # noqa: S310
        with urllib.request.urlopen(moved, timeout=10) as reply:  # noqa: S310
            assert reply.status == 200
        until(lambda: shown() == (3, 3), "and fewer, once it has moved the bounds")


def test_a_worker_with_too_many_slots_does_not_start(tmp_path: Path) -> None:
    """Status 78, and one line that names the option."""
    command = [PYTHON, "-m", "celery", "-A", "echo_tasks", "worker", "--concurrency=5000"]
    done = subprocess.run(command, cwd=ROOT, env=Site(tmp_path).env, capture_output=True, text=True)
    assert done.returncode == 78, done.stderr
    assert "echo: --concurrency: a worker may have from 1 to 1024 slots, not 5000" in done.stderr


@pytest.mark.parametrize("bounds", ["0", "0,0", "4,-1", "1025,1"])
def test_autoscale_bounds_without_a_slot_are_refused(bounds: str) -> None:
    """Read as the command line reads them: too few slots, too many, and a negative minimum."""
    from workers import runtime  # noqa: PLC0415 - it imports torch

    most, least = Autoscale().convert(bounds, None, None)
    worker = SimpleNamespace(autoscale=(most, least), max_concurrency=most, min_concurrency=least)
    with pytest.raises(SettingsError, match="--autoscale: a worker may have from 1 to 1024 slots"):
        runtime._slots(worker)
