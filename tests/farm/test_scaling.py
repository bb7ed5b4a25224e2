"""The farm follows its load with real workers: up, down, by hand, and while its controller is killed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from processes import PYTHON, ROOT, Running, Site, until

from echo_tasks import connections
from echo_tasks.local import restarts
from echo_tasks.local.roster import WORKERS, Roster, Wanted
from echo_tasks.messages import WorkerRecord
from echo_tasks.registry import Registry
from echo_tasks.scaling import Scaling
from echo_tasks.settings import load

pytestmark = [pytest.mark.farm, pytest.mark.timeout(400)]

KILLED, LEFT = "has ended (killed by SIGKILL)", "was drained, and has left"
SERVICE = "/api/scaling/cognitive-service"
JOB = {"input_text": "Hello.", "cache": False}


@dataclass
class Scaled:
    """A farm with a crew and a controller, as the Procfile has them."""

    site: Site
    crew: Running
    controller: Running
    broker: redis.Redis

    def live(self) -> list[WorkerRecord]:
        found: list[WorkerRecord] = Registry(self.broker).live()
        return found

    def until_there_are(self, count: int, within_s: float = 60) -> None:
        until(lambda: len(self.live()) == count, f"{count} workers", within_s)

    def jobs(self, count: int, tokens: int) -> list[str]:
        body = JOB | {"options": {"max_tokens": tokens}}
        return [self.site.post("/api/jobs", body).json["job_id"] for _ in range(count)]

    def ended(self, jobs: list[str]) -> list[tuple[str, int]]:
        """How the jobs ended, and how often each was begun; once for all of them."""
        found: list[dict[str, Any]] = [self.site.ended(job_id, within_s=240) for job_id in jobs]
        return sorted({(job["status"], job["attempts"]) for job in found})

    def kill_controller(self) -> None:
        psutil.Process(until(lambda: self.site.pid_of("controller"), "a controller")).send_signal(signal.SIGKILL)

    def reasons(self) -> list[str]:
        return [one.event.reason for one in reversed(Scaling(self.broker).events(1000))]

    def scale(self, number: int) -> subprocess.CompletedProcess[str]:
        command = [PYTHON, "-m", "echo_tasks.local.control", "scale", str(number)]
        return subprocess.run(command, cwd=ROOT, env=self.site.env, capture_output=True, text=True, timeout=240)


@contextmanager
def scaled(folder: Path, model: Path, **env: str) -> Iterator[Scaled]:
    known = {"ECHO_MODEL": str(model), "ECHO_SLOTS": "2", "ECHO_THREADS": "1", "MAX_INSTANCES": "2"}
    site = Site(folder, known | {"HEALTH_CHECK_INTERVAL": "1"} | env)
    worker = (PYTHON, "-m", "celery", "-A", "echo_tasks", "worker")
    with ExitStack() as stack:
        for server in (site.server("broker"), site.server("store"), site.http()):
            stack.enter_context(server)
        broker = connections.impatient(site.broker_url)
        stack.callback(broker.close)
        crew = stack.enter_context(site.supervised("worker", *worker, flag="--crew"))
        controller = stack.enter_context(site.supervised("controller", PYTHON, "-m", "autoscale"))
        farm = Scaled(site, crew, controller, broker)
        farm.until_there_are(1)
        until(lambda: "steady" in farm.reasons() or "disabled" in farm.reasons(), "the controller decides")
        yield farm


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, talkative: Path) -> Iterator[Scaled]:
    """A farm that follows its load."""
    with scaled(tmp_path_factory.mktemp("scaled"), talkative) as farm:
        yield farm


@pytest.fixture
def following(running: Scaled) -> Scaled:
    """The same with one worker, as the test before may still have to leave it."""
    running.until_there_are(1, within_s=120)
    return running


def test_it_grows_under_load_and_shrinks_afterwards_while_its_controller_is_killed(following: Scaled) -> None:
    """From one worker to two and back: no job is lost, none is begun twice, and no worker is told to stop."""
    farm, before = following, len(following.reasons())
    left, killed = (farm.crew.text().count(LEFT), farm.controller.text().count(KILLED))
    jobs = farm.jobs(12, tokens=100)
    until(lambda: {"scale_up", "burst"} & {*farm.reasons()[before:]}, "it grows", 30)
    farm.kill_controller()
    farm.until_there_are(2)
    jobs += farm.jobs(6, tokens=30)
    farm.kill_controller()
    assert farm.ended(jobs) == [("succeeded", 1)]
    farm.until_there_are(1, within_s=120)
    until(lambda: farm.crew.text().count(LEFT) == left + 1, "it has left")
    assert farm.controller.text().count(KILLED) == killed + 2
    assert "worker stops" not in farm.crew.text()
    assert farm.ended(farm.jobs(1, tokens=2)) == [("succeeded", 1)]


def test_by_hand_one_more_and_one_fewer_whatever_runs(tmp_path: Path, talkative: Path) -> None:
    """Over HTTP and on the command line, without the policy: who goes ends what it runs, and bounds are 400."""
    with scaled(tmp_path, talkative, AUTO_SCALING_ENABLED="false") as farm:
        assert farm.site.post(f"{SERVICE}/scale-up", None).status == 200
        farm.until_there_are(2)
        until(lambda: farm.site.post(f"{SERVICE}/scale-up", None).status == 400, "there are as many as may be")
        jobs = farm.jobs(4, tokens=200)
        until(lambda: all(farm.site.get(f"/api/jobs/{one}").json["started_at"] for one in jobs), "all run")
        assert farm.site.post(f"{SERVICE}/scale-down", None).status == 200
        until(lambda: "worker drains" in farm.crew.text(), "one drains")
        assert farm.ended(jobs) == [("succeeded", 1)]
        farm.until_there_are(1)
        grown = farm.scale(2)
        assert grown.returncode == 0, grown.stdout + grown.stderr
        assert grown.stdout.splitlines()[-1].startswith("2 serving; 2 wanted")
        assert len(farm.live()) == 2
        assert len(restarts.read(load(farm.site.env))) == 3  # the controller's and two workers'
        shrunk = farm.scale(1)
        assert shrunk.returncode == 0, shrunk.stdout + shrunk.stderr
        assert len(farm.live()) == 1
        assert "worker stops" not in farm.crew.text()


def test_a_killed_worker_is_the_crews_affair(following: Scaled) -> None:
    """It comes back under its name; the controller asks for no other."""
    before = following.live()[0]
    psutil.Process(before.pid).kill()
    until(lambda: [one.pid for one in following.live()] not in ([], [before.pid]), "another one")
    (after,) = following.live()
    assert after.node == before.node
    assert Roster(WORKERS, load(following.site.env)).wanted() == Wanted(1)
