"""The farm on one machine heals itself: whatever process is killed comes back, and nothing accepted is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from processes import PYTHON, ROOT, Site, until

from echo_tasks.local import restarts
from echo_tasks.local.restarts import Restarts
from echo_tasks.settings import load

pytestmark = [pytest.mark.farm, pytest.mark.timeout(300)]

JOB = {"input_text": "Hello.", "cache": False, "options": {"max_tokens": 2}}


@pytest.fixture
def farm(tmp_path: Path, talkative: Path) -> Iterator[Site]:
    """A farm as quick-start.sh runs it, of this test's own."""
    own_code = {"PYTHONPATH": str(ROOT)}  # of programs by their names, too, whatever is installed
    alone = {"AUTO_SCALING_ENABLED": "false"}  # one worker: tests name the one that they kill
    site = Site(tmp_path, {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "2"} | own_code | alone)
    started = control(site, "start")
    assert started.returncode == 0, started.stdout
    try:
        yield site
    finally:
        control(site, "stop")


def control(site: Site, verb: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, "-m", "echo_tasks.local.control", verb]
    return subprocess.run(command, cwd=ROOT, env=site.env, capture_output=True, text=True, timeout=240)


def record(site: Site, name: str) -> Restarts:
    return next(found for found in restarts.read(load(site.env)) if found.name == f"{name}.1")


def process(site: Site, name: str) -> psutil.Process | None:
    """The process that does the work of `name`, if there is one: of a launcher, the server that it has launched."""
    found = psutil.Process(record(site, name).keeper_pid).children()
    if found and name in {"broker", "store"}:
        found = found[0].children()
    return found[0] if found else None


def is_ready(site: Site) -> bool:
    flower, controller = (
        Site(site.folder, {"API_PORT": site.env[port]}) for port in ("FLOWER_PORT", "CONTROLLER_PORT")
    )
    others = (flower.get("/healthcheck").status, controller.get("/health").status)
    return site.get("/readyz").status == 200 and others == (200, 200)


def test_whatever_process_is_killed_comes_back(farm: Site) -> None:
    """SIGKILL of each process in turn: another one takes its place, the farm is ready, and `status` tells of it."""
    job_id = farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["job_id"]
    for name in ("worker", "api", "store", "controller", "flower", "broker"):
        dead = process(farm, name)
        assert dead is not None
        dead.kill()
        until(lambda: record(farm, name).count == 1, f"the death of the {name} is noticed")  # noqa: B023
        until(lambda: process(farm, name), f"the {name} is back")  # noqa: B023
        until(lambda: is_ready(farm), f"ready after the death of the {name}", 90)
        assert farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["status"] == "succeeded"
    assert farm.get(f"/api/jobs/{job_id}").json["status"] == "succeeded"
    status = control(farm, "status").stdout
    for name in ("broker", "store", "api", "worker", "controller", "flower"):
        assert f"{name + '.1':<10} restarted once, last at 20" in status
    assert "(killed by SIGKILL)" in status


def test_a_job_outlives_the_worker_that_ran_it(farm: Site) -> None:
    """The worker is killed in the middle of a job; the one that takes its place ends it, and nobody has to help."""
    job_id = farm.post("/api/jobs", JOB | {"options": {"max_tokens": 200}}).json["job_id"]
    until(lambda: farm.get(f"/api/jobs/{job_id}").json["status"] == "running", "running")
    worker = process(farm, "worker")
    assert worker is not None
    worker.kill()
    job = farm.ended(job_id, within_s=150)
    assert (job["status"], job["attempts"]) == ("succeeded", 2)


def test_all_killed_at_once_come_back(farm: Site) -> None:
    """Every process, and the servers' launchers with them, in the same moment; what was accepted is still there."""
    job_id = farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["job_id"]
    names = ("broker", "store", "api", "worker", "controller", "flower")
    for name in names:
        psutil.Process(record(farm, name).keeper_pid).children()[0].kill()
    until(lambda: all(record(farm, name).count == 1 for name in names), "all deaths are noticed")
    until(lambda: is_ready(farm), "the farm is ready", 90)
    assert farm.get(f"/api/jobs/{job_id}").json["status"] == "succeeded"
    assert farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["status"] == "succeeded"


def test_stop_leaves_nothing_when_keepers_were_killed(farm: Site) -> None:
    """honcho ends the farm when a keeper is killed; `stop` finds what may be left, and no process outlives it."""
    keeper = psutil.Process(record(farm, "worker").keeper_pid)
    keeper.kill()
    until(lambda: farm.get("/livez").status == 0, "honcho ends the farm")
    control(farm, "stop")
    assert [found for found in psutil.process_iter() if _is_of(farm, found)] == []


def _is_of(site: Site, found: psutil.Process) -> bool:
    with suppress(psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return found.pid != os.getpid() and found.environ().get("ECHO_VAR") == site.env["ECHO_VAR"]
    return False
