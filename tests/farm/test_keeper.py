"""A keeper and its process: restarts, signals, ends. Small programs stand for the farm's own."""

from __future__ import annotations

import json
import signal
from contextlib import AbstractContextManager
from pathlib import Path

import psutil
import pytest
from processes import PYTHON, Running, Site, until

pytestmark = pytest.mark.farm

STEADY = "import os, signal, sys, time\nprint('pid', os.getpid(), flush=True)\n"


@pytest.fixture
def own(tmp_path: Path) -> Site:
    """A site of this test's own."""
    return Site(tmp_path)


def kept(site: Site, program: str) -> AbstractContextManager[Running]:
    """A keeper of a small Python program."""
    return site.run("keeper", PYTHON, "-m", "echo_tasks.local.keep", "small", PYTHON, "-c", program)


def pids(keeper: Running) -> list[int]:
    """The program's pids so far, the latest last."""
    return [int(line.split()[1]) for line in keeper.text().splitlines() if line.startswith("pid ")]


def started(keeper: Running, times: int = 1) -> int:
    """The pid of the program's start number `times`."""
    return int(until(lambda: len(pids(keeper)) >= times and pids(keeper), f"start {times}")[-1])


def test_a_killed_process_comes_back_and_the_restart_is_written_down(own: Site) -> None:
    """After a SIGKILL there is another process within seconds, and a record of how often and why."""
    with kept(own, STEADY + "time.sleep(600)") as keeper:
        first = started(keeper)
        psutil.Process(first).kill()
        assert started(keeper, times=2) != first
        record = json.loads((own.folder / "var" / "run" / "small.json").read_text())
        assert (record["count"], record["reason"]) == (1, "killed by SIGKILL")
        assert record["keeper_pid"] == keeper.process.pid
        pause_s = float(own.env.get("RESTART_PAUSE_S", 1))
        assert f"small has ended (killed by SIGKILL); it is started again in {pause_s:g} s" in keeper.text()


def test_a_clean_end_that_nobody_asked_for_is_restarted_too(own: Site) -> None:
    """Flower's button "Shut down" and `celery control shutdown` end a worker with 0; the farm keeps having one."""
    with kept(own, STEADY + "time.sleep(0.2)") as keeper:
        started(keeper, times=2)
        assert "small has ended (exit status 0)" in keeper.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_reaches_the_process_once_and_its_status_is_the_keepers(own: Site, number: int) -> None:
    """The process takes its time to end in its own way; the keeper waits for it and does not start it again."""
    stops = "def stop(*_):\n print('stops', flush=True)\n time.sleep(0.3)\n sys.exit(7)\n"
    with kept(
        own, STEADY + stops + f"signal.signal({int(number)}, stop)\nprint('set', flush=True)\ntime.sleep(600)"
    ) as k:
        until(lambda: "set" in k.text(), "the handler is set")
        assert k.stop(number) == 7
        assert k.text().count("stops") == 1
        assert len(pids(k)) == 1


def test_hangup_is_passed_on_and_ends_nothing(own: Site) -> None:
    """SIGHUP reloads gunicorn and Celery: it is theirs to act on."""
    hup = "signal.signal(signal.SIGHUP, lambda *_: print('reloaded', flush=True))\nprint('set', flush=True)\n"
    with kept(own, STEADY + hup + "\nwhile True: time.sleep(1)") as keeper:
        until(lambda: "set" in keeper.text(), "the handler is set")
        keeper.send(signal.SIGHUP)
        until(lambda: "reloaded" in keeper.text(), "it was passed on")
        assert keeper.process.poll() is None
        assert len(pids(keeper)) == 1


def test_a_misconfigured_process_is_not_tried_again(own: Site) -> None:
    """Exit status 78 says that the next start would end the same: it ends the keeper at once."""
    with kept(own, STEADY + "sys.exit(78)") as keeper:
        assert until(lambda: keeper.process.poll(), "the keeper ends") == 78
        assert len(pids(keeper)) == 1


def test_a_crash_loop_ends_in_one_clear_message(own: Site) -> None:
    """Five deaths before it was ever healthy: the keeper names the process, its end and its last words, and ends."""
    with kept(own, STEADY + "sys.exit('no such thing as a model')") as keeper:
        assert until(lambda: keeper.process.poll(), "the keeper ends", 90) == 1
        assert len(pids(keeper)) == 5
        verdict = keeper.text().split("keep: small has ended 5 times")[1]
        assert "exit status 1" in verdict
        assert "    no such thing as a model" in verdict


def test_a_program_that_is_not_there_is_named(own: Site) -> None:
    """Neither a traceback nor another try."""
    with own.run("keeper", PYTHON, "-m", "echo_tasks.local.keep", "small", "no-such-program") as keeper:
        assert until(lambda: keeper.process.poll(), "the keeper ends") == 127
        assert keeper.text() == "keep: small cannot be started: no-such-program: No such file or directory\n"


def test_a_pause_is_cut_short_by_a_signal_to_stop(own: Site) -> None:
    """Between two starts there is no process, and the keeper ends at once."""
    own.env["RESTART_PAUSE_S"] = "10"
    with kept(own, STEADY + "sys.exit(1)") as keeper:
        until(lambda: "again in" in keeper.text(), "a death")
        assert keeper.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        assert len(pids(keeper)) == 1


def test_the_process_does_not_outlive_a_killed_keeper(own: Site) -> None:
    """SIGKILL of the keeper is SIGTERM for its process."""
    with kept(own, STEADY + "time.sleep(600)") as keeper:
        child = psutil.Process(started(keeper))
        keeper.stop(signal.SIGKILL)
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the process is gone")


def test_what_a_killed_process_leaves_behind_is_ended(own: Site) -> None:
    """A master's own children, which may hold its port, go before its successor starts."""
    forks = "child = os.fork()\nif child == 0: print('grandchild', os.getpid(), flush=True)\ntime.sleep(600)"
    with kept(own, STEADY + forks) as keeper:
        until(lambda: "grandchild" in keeper.text(), "it has forked")
        grandchild = psutil.Process(int(keeper.text().split("grandchild ")[1].split()[0]))
        psutil.Process(started(keeper)).kill()
        until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE, "it is gone")
        started(keeper, times=2)
