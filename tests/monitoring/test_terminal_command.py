"""`python -m monitoring.terminal` in a terminal and in a pipe, beside real servers, and a real farm."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from moments import worker
from processes import PYTHON, ROOT, Site, until
from screen import HIDDEN, SHOWN, screen

from echo_tasks import connections, counts
from echo_tasks.registry import Registry

pytestmark = pytest.mark.farm

COMMAND = [PYTHON, "-m", "monitoring.terminal"]
ALONE = [*COMMAND, "--no-prometheus"]

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


@pytest.fixture
def own(tmp_path: Path) -> Site:
    """A site of this test's own."""
    return Site(tmp_path)


@pytest.fixture
def with_worker(own: Site) -> Iterator[Site]:
    """A broker, and the word of a worker that is not there."""
    with own.server("broker"):
        client = connections.impatient(own.broker_url)
        Registry(client).announce(worker())
        client.persist("echo:worker:worker1@one")
        yield own
        client.close()


def once(site: Site, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *options], cwd=ROOT, env=site.env, capture_output=True, text=True, timeout=60)


def test_a_pipe_gets_one_snapshot_without_colour(with_worker: Site) -> None:
    """What can be reached is there, and what cannot is named; that is no failure of the view."""
    done = once(with_worker)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "worker1@one" in done.stdout
    assert f"exporter at http://127.0.0.1:{with_worker.env['EXPORTER_PORT']}: Connection refused" in done.stdout
    assert "broker at" not in done.stdout


def test_without_a_broker_there_is_a_snapshot_too(own: Site) -> None:
    """It says what is away."""
    done = once(own, "--once")
    assert done.returncode == 0, done.stderr
    assert f"broker at {own.broker_url}: unreachable" in done.stdout
    assert "no controller is known to lead" in done.stdout


def test_q_ends_it_and_the_terminal_is_as_before(with_worker: Site) -> None:
    """All within one screen, which is given back; keys are no longer taken one by one."""
    with screen(ALONE, with_worker.env) as terminal:
        before = terminal.modes()
        until(lambda: "worker1@one" in terminal.text(), "the worker is shown")
        assert SHOWN in terminal.raw
        assert before & (termios.ECHO | termios.ICANON)
        assert not terminal.modes() & (termios.ECHO | termios.ICANON)
        assert len(terminal.text().splitlines()) <= 24
        terminal.press("x")
        terminal.press("q")
        assert terminal.process.wait(10) == 0
        until(lambda: HIDDEN in terminal.raw, "the screen is given back")
        assert terminal.modes() == before
        assert "Traceback" not in terminal.raw


@pytest.mark.parametrize(("key", "number", "status"), [("\x03", None, 0), ("", signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_end_it_cleanly(with_worker: Site, key: str, number: int | None, status: int) -> None:
    """The screen is given back; a person's Ctrl-C is no failure."""
    with screen(ALONE, with_worker.env) as terminal:
        before = terminal.modes()
        until(lambda: "worker1@one" in terminal.text(), "the worker is shown")
        if number:
            terminal.process.send_signal(number)
        else:
            terminal.press(key)
        assert terminal.process.wait(10) == status
        until(lambda: HIDDEN in terminal.raw, "the screen is given back")
        assert terminal.modes() == before
        assert "Traceback" not in terminal.raw


def test_it_goes_on_while_the_broker_is_away(own: Site) -> None:
    """It says so, and is there again when the broker is."""
    away = f"broker at {own.broker_url}: unreachable"
    with screen(ALONE, own.env) as terminal:
        until(lambda: away in terminal.text(), "the broker is away")
        with own.server("broker"):
            until(lambda: "no workers" in terminal.text() and away not in terminal.text(), "it is back")
        until(lambda: away in terminal.text(), "it is away again")
        assert terminal.process.poll() is None


def test_it_follows_the_terminals_size(with_worker: Site) -> None:
    """More columns, more of what is long."""
    with screen(ALONE, with_worker.env) as terminal:
        until(lambda: "worker1@one" in terminal.text(), "the worker is shown")
        terminal.resize(120, 40)
        until(lambda: max(map(len, terminal.text().splitlines())) > 100, "it is wider")


@needs_prometheus
@pytest.mark.parametrize("end", ["q", "kill"])
def test_the_local_prometheus_lives_as_long_as_the_view(own: Site, end: str) -> None:
    """Started with it, shown in it, and gone with it, even when it is killed."""
    place = f"Prometheus http://127.0.0.1:{own.env['PROMETHEUS_PORT']}"
    with screen(COMMAND, own.env, columns=120) as terminal:
        until(lambda: place in terminal.text(), "Prometheus answers")
        (child,) = psutil.Process(terminal.process.pid).children()
        assert child.name() == "prometheus"
        if end == "q":
            terminal.press("q")
            assert terminal.process.wait(20) == 0
        else:
            terminal.process.kill()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "Prometheus is gone")


def test_quick_start_knows_it(with_worker: Site) -> None:
    """The same, by its other name; options are passed on."""
    env = with_worker.env | {"ECHO_VENV": os.path.relpath(sys.prefix, ROOT)}
    command = ["./quick-start.sh", "monitor", "--once"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "worker1@one" in done.stdout
    nonsense = subprocess.run([*command, "--sing"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert nonsense.returncode == 2


def test_a_real_farm(farm: Site, broker: redis.Redis) -> None:
    """After a job was answered twice, at last from the cache: worker, hits, states, and the ledger's counts."""
    job = {"input_text": "Hello, monitor.", "membranes": ["grammar"], "options": {"max_tokens": 2}}
    for _ in range(2):
        assert farm.post("/api/jobs", job, {"Prefer": "wait=60"}).status == 200
    with farm.run("exporter", PYTHON, "-m", "monitoring.exporter") as exporter:
        until(lambda: "exporter at" not in once(farm).stdout or exporter.process.poll() is not None, "it is scraped")
        done = once(farm)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]

    def row(begins: str) -> list[str]:
        (found,) = [row for row in rows if row[:1] == [begins]]
        return found

    assert row("worker@test")[1].endswith("/4")
    assert row("worker@test")[-1] == "serves"
    assert row("answers")[1] == "–"
    assert int(row("answers")[2]) > 0
    assert row("states")[2] != "–"
    assert row("memory")[1] == "0"
    assert row("memory")[-3:] == ["accepted", "0.0", f"{counts.read(broker).jobs_accepted:,}"]
    assert row("BROKER")[2].rstrip(",") in {"MB", "GB"}  # a comma where other tests took the limit away
    assert f"API docs {farm.api}/openapi/swagger" in done.stdout
