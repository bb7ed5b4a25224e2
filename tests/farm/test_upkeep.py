"""The farm on one machine heals itself: whatever process is killed comes back, and nothing accepted is lost."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
from processes import PYTHON, ROOT, Site, until

from echo_tasks.local import restarts
from echo_tasks.local.restarts import Restarts
from echo_tasks.settings import Settings, load

pytestmark = [pytest.mark.farm, pytest.mark.timeout(300)]

JOB = {"input_text": "Hello.", "cache": False, "options": {"max_tokens": 2}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Site]:
    """The site of this file's farm."""
    own_code = {"PYTHONPATH": str(ROOT)}  # of programs by their names, too, whatever is installed
    alone = {"AUTO_SCALING_ENABLED": "false", "MAX_INSTANCES": "2"}  # one worker: tests name the one that they kill
    site = Site(tmp_path_factory.mktemp("whole"), {"ECHO_MODEL": str(talkative), "ECHO_SLOTS": "2"} | own_code | alone)
    yield site
    control(site, "stop")


@pytest.fixture
def farm(whole: Site) -> Site:
    """A farm as quick-start.sh runs it: that of the test before, unless that one has ended it."""
    if whole.get("/livez").status != 200:
        started = control(whole, "start")
        assert started.returncode == 0, started.stdout
    until(lambda: is_ready(whole), "the farm is ready", 90)
    return whole


def control(site: Site, verb: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, "-m", "echo_tasks.local.control", verb]
    return subprocess.run(command, cwd=ROOT, env=site.env, capture_output=True, text=True, timeout=280)


@cache
def named(folder: str) -> Settings:
    """The settings by which records are found: tests look at them again and again."""
    return load({"ECHO_VAR": folder})


def record(site: Site, name: str) -> Restarts:
    """Of the only process of that name; a worker that took another one's place has another number."""
    known = [one for one in restarts.read(named(site.env["ECHO_VAR"])) if one.name.partition(".")[0] == name]
    (found,) = [one for one in known if psutil.pid_exists(one.keeper_pid)]  # others are of a farm before this one
    return found


def process(site: Site, name: str) -> psutil.Process | None:
    """The process that does the work of `name`, if there is one; of workers the first."""
    programs = (site.supervisor() or {"programs": {}})["programs"]
    pid = programs.get(name) or next((programs[one] for one in sorted(programs) if one.startswith(f"{name}.")), None)
    return psutil.Process(pid) if pid and psutil.pid_exists(pid) else None


def is_ready(site: Site) -> bool:
    """The API's own word first: others are not asked while that says no."""
    others = (("FLOWER_PORT", "/healthcheck"), ("CONTROLLER_PORT", "/health"))
    return site.get("/readyz").status == 200 and all(
        Site(site.folder, {"API_PORT": site.env[port]}).get(path).status == 200 for port, path in others
    )


def answered(farm: Site) -> dict[str, Any]:
    """A job that has ended, asked for as clients do: again after a connection that ended with its process."""
    for _ in range(3):
        if (answer := farm.post("/api/jobs", JOB, {"Prefer": "wait=60"})).status:
            break
    told: dict[str, Any] = answer.json
    return told


KEPT = ("worker", "api", "store", "controller", "flower", "broker")


def test_whatever_process_is_killed_comes_back(farm: Site) -> None:
    """SIGKILL of each process in turn: another one takes its place, the farm is ready, and `status` tells of it."""
    job_id = farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["job_id"]
    for name in KEPT:
        deaths, dead = record(farm, name).count, process(farm, name)
        assert dead is not None
        dead.kill()
        until(lambda: record(farm, name).count == deaths + 1, f"the death of the {name} is noticed")  # noqa: B023
        until(lambda: process(farm, name), f"the {name} is back")  # noqa: B023
        until(lambda: is_ready(farm), f"ready after the death of the {name}", 90)
        assert answered(farm)["status"] == "succeeded"
    assert farm.get(f"/api/jobs/{job_id}").json["status"] == "succeeded"
    status = control(farm, "status").stdout
    for name in KEPT:
        noted = record(farm, name)
        assert f"{noted.name:<10} {noted}" in status
        assert str(noted).startswith("restarted once, last at 20" if noted.count == 1 else "restarted ")
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


@pytest.mark.long  # each of these deaths by itself, and all starts at once, are in quick tests
def test_all_killed_at_once_come_back(farm: Site) -> None:
    """Every process in the same moment; what was accepted is still there."""
    job_id = farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["job_id"]
    deaths = {name: record(farm, name).count for name in KEPT}
    for name in KEPT:
        if dead := process(farm, name):
            dead.kill()
    until(lambda: all(record(farm, name).count == deaths[name] + 1 for name in KEPT), "all deaths are noticed")
    until(lambda: is_ready(farm), "the farm is ready", 90)
    assert farm.get(f"/api/jobs/{job_id}").json["status"] == "succeeded"
    assert farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["status"] == "succeeded"


def test_a_farm_is_updated_in_place_while_clients_go_on(farm: Site) -> None:
    """Every process is another one afterwards, but for the supervisor; nobody had anything but a 503."""
    before, statuses, is_over = pids(farm), [], threading.Event()
    known = JOB | {"cache": True}  # so that it costs a worker little

    def client() -> None:
        while not is_over.is_set():
            statuses.append(farm.post("/api/jobs", known).status)
            time.sleep(0.2)

    asking = threading.Thread(target=client)
    asking.start()
    updated = control(farm, "update")
    is_over.set()
    asking.join()
    assert updated.returncode == 0, updated.stdout + updated.stderr
    told = [line.split()[0].partition("@")[0].rstrip("12") for line in updated.stdout.splitlines()]
    assert told == ["store", "broker", "worker", "controller", "exporter", "flower", "api"]
    after = pids(farm)
    assert len(after) == len(before) >= 7
    assert not before & after
    assert set(statuses) <= {202, 503}
    assert statuses.count(202) > statuses.count(503)
    assert farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["status"] == "succeeded"


def pids(site: Site) -> set[int]:
    """The processes of this farm's programs."""
    return {*(site.supervisor() or {"programs": {}})["programs"].values()}


def test_supervisor_and_guard_may_be_killed_while_jobs_run(farm: Site) -> None:
    """Nobody notices: no program is started again, and no job."""
    before = pids(farm)
    job_id = farm.post("/api/jobs", JOB | {"options": {"max_tokens": 200}}).json["job_id"]
    for name in ("supervisor", "guard"):
        (one,) = [found for found in psutil.process_iter() if _is_of(farm, found) and _module(found).endswith(name)]
        one.kill()
        until(lambda: pids(farm) == before, f"another {name}")
        assert farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["status"] == "succeeded"
    job = farm.ended(job_id, within_s=150)
    assert (job["status"], job["attempts"]) == ("succeeded", 1)


def test_stop_leaves_nothing_when_supervisor_and_guard_were_killed(farm: Site) -> None:
    """Nobody starts those two again when both are killed at once: the farm runs on, and `stop` finds all of it."""
    both = [found for found in psutil.process_iter() if _is_of(farm, found) and _module(found)]
    assert {_module(one) for one in both} == {"echo_tasks.local.supervisor", "echo_tasks.local.guard"}
    for one in both:
        one.suspend()
    for one in both:
        one.kill()
    assert farm.post("/api/jobs", JOB, {"Prefer": "wait=60"}).json["status"] == "succeeded"
    control(farm, "stop")
    assert [found for found in psutil.process_iter() if _is_of(farm, found)] == []
    assert "does not run" in control(farm, "update").stdout


def _module(found: psutil.Process) -> str:
    """The module of ours that a process of the two runs."""
    with suppress(psutil.Error):
        words = found.cmdline()[1:3]
        if words in (["-m", "echo_tasks.local.supervisor"], ["-m", "echo_tasks.local.guard"]):
            return words[1]
    return ""


def _is_of(site: Site, found: psutil.Process) -> bool:
    with suppress(psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return found.pid != os.getpid() and found.environ().get("ECHO_VAR") == site.env["ECHO_VAR"]
    return False
