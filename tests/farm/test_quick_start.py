"""The two commands: start and stop, in a terminal's own words, with nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from processes import ROOT, Site, until

from echo_tasks.local import readiness
from echo_tasks.settings import load

pytestmark = [pytest.mark.farm, pytest.mark.timeout(300)]


class Terminal:
    """quick-start.sh as a person would run it, on this test's own ports and folder."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.env = site.env | {"ECHO_VENV": os.path.relpath(sys.prefix, ROOT)}
        self.said = subprocess.CompletedProcess[str]([], 0)
        """What its last start had to say, where tests share it."""

    def __call__(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["./quick-start.sh", *words], cwd=ROOT, env=self.env | env, capture_output=True, text=True, timeout=240
        )

    def to_nobody(self, verb: str) -> tuple[int, str]:
        """The status and the errors of a command whose reader has gone, as in `| head`."""
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "echo_tasks.local.control", verb]
        with os.fdopen(writer) as nobody:
            done = subprocess.run(
                command, cwd=ROOT, env=self.env, stdout=nobody, stderr=subprocess.PIPE, text=True, timeout=60
            )
        return done.returncode, done.stderr

    def left(self) -> list[psutil.Process]:
        """Processes of the farm that are still there, found by the folder in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("ECHO_VAR") == self.env["ECHO_VAR"]:
                    found.append(process)
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found

    def kill_all(self) -> None:
        for process in self.left():
            process.kill()

    def open_ports(self) -> list[str]:
        return [name for name, value in self.env.items() if name.endswith("_PORT") and _open(int(value))]


def _open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """One whose farm is this test's own."""
    terminal = Terminal(Site(tmp_path))
    yield terminal
    terminal.kill_all()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """The terminal of the farm that this file's tests share."""
    terminal = Terminal(Site(tmp_path_factory.mktemp("shared")))
    yield terminal
    terminal.kill_all()


@pytest.fixture
def started(shared: Terminal) -> Terminal:
    """Its farm runs: that of the test before, unless that one has ended it."""
    if shared.site.get("/livez").status != 200:
        shared.said = shared("start")
        assert shared.said.returncode == 0, shared.said.stdout + shared.said.stderr
    return shared


def test_start_a_job_status_and_logs(started: Terminal) -> None:
    """Ready with its access points, a job answered, a second start refused kindly, and all of it told of."""
    assert "workers: waiting" in started.said.stdout or "workers: ok" in started.said.stdout
    for point in ("API", "OpenAPI", "Flower", f"http://127.0.0.1:{started.env['API_PORT']}"):
        assert point in started.said.stdout

    answer = started.site.post("/api/cognitive/process", {"input_text": "What is two plus three?"})
    assert answer.status == 200
    assert answer.json["response_text"] == "2 plus 3 is 5, so two plus three is five."
    assert len([text for text in answer.json["membrane_outputs"].values() if text]) == 3

    again = started("start")
    assert again.returncode == 0
    assert "runs already" in again.stdout
    status = started("status")
    assert status.returncode == 0, status.stdout
    assert "workers    ok" in status.stdout
    assert "controller ok" in status.stdout
    assert "exporter   ok" in status.stdout
    assert "instances  1 serving; 1 wanted" in status.stdout
    assert "worker.1   never restarted" in status.stdout
    assert (started("scale", "11").returncode, started("scale", "1").returncode) == (2, 0)
    var = Path(started.env["ECHO_VAR"])
    assert {stat.S_IMODE((var / role).stat().st_mode) for role in ("broker", "store")} == {0o700}
    worker_log = started("logs", "worker").stdout
    assert "job answered" in worker_log
    assert "echo-mini" in worker_log
    assert "api.1" not in worker_log
    unknown = started("logs", "wroker")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "no process wroker; there are broker, store, api, worker" in unknown.stderr
    assert started.to_nobody("logs") == started.to_nobody("status") == (-signal.SIGPIPE, "")


def test_data_is_kept_across_a_restart(started: Terminal) -> None:
    """A job outlives `restart`, no process does, and none has to be killed for that; `stop` leaves nothing."""
    body = {"input_text": "Hello.", "options": {"max_tokens": 2}}
    job = started.site.post("/api/jobs", body, {"Prefer": "wait=60"})
    before = started.left()
    restarted = started("restart")
    assert restarted.returncode == 0, restarted.stdout
    assert "stopped." in restarted.stdout
    assert "by force" not in restarted.stdout
    assert not any(process.is_running() for process in before)
    assert started.site.get(f"/api/jobs/{job.json['job_id']}").json == job.json
    assert started("stop").returncode == 0
    assert started.left() == []
    assert started.open_ports() == []
    assert started("status").returncode == 1


def test_a_farm_in_the_foreground_outlives_honcho(terminal: Terminal, talkative: Path) -> None:
    """Whatever of honcho's is killed, honcho included: the programs run on, and `honcho start` stands in for them."""
    site = terminal.site
    command = (sys.executable, "-m", "honcho", "start", "broker", "store", "api", "worker")
    with site.run("honcho", *command, env={"ECHO_MODEL": str(talkative)}) as honcho:
        until(lambda: site.get("/readyz").status == 200, "the farm is ready")
        before = (site.supervisor() or {})["programs"]
        below = psutil.Process(honcho.process.pid).children(recursive=True)
        (standing,) = [one for one in below if one.cmdline()[2:4] == ["echo_tasks.local.attach", "store"]]
        standing.kill()
        assert honcho.process.wait(30) != 0, "honcho ends when one of its processes does"
        assert (site.supervisor() or {})["programs"] == before
        assert site.post("/api/jobs", {"input_text": "Hello."}).status == 202
    with site.run("honcho", *command, env={"ECHO_MODEL": str(talkative)}) as honcho:
        until(lambda: honcho.text().rpartition("stopped")[2].count("started (pid=") == 4, "it stands in for them")
        assert (site.supervisor() or {})["programs"] == before
        psutil.Process(honcho.process.pid).kill()
        until(lambda: not psutil.pid_exists(honcho.process.pid) or honcho.process.poll() is not None, "it is gone")
        assert site.get("/readyz").status == 200
        assert (site.supervisor() or {})["programs"] == before
    assert terminal("stop").returncode == 0
    assert terminal.left() == []


def test_ctrl_c_hands_running_steps_back(terminal: Terminal, talkative: Path) -> None:
    """`honcho start` in the foreground, interrupted while a job runs: the job goes on after the next start."""
    site = terminal.site
    model = {"ECHO_MODEL": str(talkative)}
    command = (sys.executable, "-m", "honcho", "start", "broker", "store", "api", "worker")
    with site.run("honcho", *command, env=model) as honcho:
        until(lambda: site.get("/readyz").status == 200, "the farm is ready")
        body = {"input_text": "Hello.", "cache": False, "options": {"max_tokens": 4096}}
        job_id = site.post("/api/jobs", body).json["job_id"]
        until(lambda: site.get(f"/api/jobs/{job_id}").json["status"] == "running", "running")
        honcho.stop(signal.SIGINT)
        assert "SIGKILL" not in honcho.text()
    with site.server("broker"):
        broker = redis.Redis.from_url(site.broker_url, decode_responses=True)
        queued = {name.split("\x06")[0] for name in broker.scan_iter("echo.*", _type="list")}
        assert queued == {"echo.memory", "echo.reasoning", "echo.grammar"}
        assert broker.hlen("unacked") == 0
        broker.close()


@contextmanager
def taken(port: str) -> Iterator[None]:
    """Somebody else listens there."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(port)))
        other.listen()
        yield


def test_a_taken_port_is_named_and_nothing_is_started(terminal: Terminal) -> None:
    """The port, and the setting that moves it."""
    with taken(terminal.env["BROKER_PORT"]):
        started = terminal("start")
    assert started.returncode == 1
    assert f"Port {terminal.env['BROKER_PORT']} (BROKER_PORT) is taken" in started.stdout
    assert terminal.left() == []


@pytest.mark.parametrize(
    "variable", ["BROKER_PORT", "STORE_PORT", "API_PORT", "FLOWER_PORT", "CONTROLLER_PORT", "EXPORTER_PORT"]
)
def test_every_taken_port_is_named(tmp_path: Path, variable: str) -> None:
    """Before anything is started."""
    settings = load(Site(tmp_path).env)
    assert readiness.port_problem(settings) == ""
    port = str(getattr(settings, variable.lower()))
    with taken(port):
        assert f"Port {port} ({variable}) is taken" in readiness.port_problem(settings)


def test_a_farm_that_cannot_start_says_why_and_leaves_nothing(terminal: Terminal) -> None:
    """A bad model ends `start` with the worker's own line, and stops what had started."""
    started = terminal("start", ECHO_MODEL="/no/such/model.pth")
    assert started.returncode == 1
    assert "model /no/such/model.pth: no such file" in started.stdout
    assert terminal.left() == []
    assert terminal.open_ports() == []


def test_a_process_that_dies_at_every_start_ends_the_farm_with_its_name(terminal: Terminal) -> None:
    """A server program that fails ends `start` after five tries: the process, its status, and nothing left."""
    started = terminal("start", ECHO_SERVER="false", RESTART_PAUSE_S="1")
    assert started.returncode == 1
    assert "has ended 5 times without ever running for 30 s, at last with exit status 1" in started.stdout
    assert terminal.left() == []


def test_an_address_that_is_not_ours_is_named(tmp_path: Path) -> None:
    """An address that this machine cannot bind is told apart from a taken port."""
    settings = load(Site(tmp_path, {"API_HOST": "192.0.2.1"}).env)
    assert "Nothing can be bound at 192.0.2.1" in readiness.port_problem(settings)


def test_stop_without_a_farm_help_and_nonsense(terminal: Terminal) -> None:
    """Every command answers; an unknown one fails with the usage."""
    assert "does not run" in terminal("stop").stdout
    assert "usage:" in terminal("help").stdout
    nonsense = terminal("dance")
    assert nonsense.returncode == 2
    assert "unknown command 'dance'" in nonsense.stderr
    assert "no log yet" in terminal("logs").stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="quick-start.sh needs bash")
def test_the_script_is_sound() -> None:
    """bash itself finds no fault in its syntax."""
    assert subprocess.run(["bash", "-n", "quick-start.sh"], cwd=ROOT).returncode == 0
