"""A program under the supervisor: restarts, signals, ends. Small programs stand for the farm's own."""

from __future__ import annotations

import json
import signal
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import psutil
import pytest
from processes import PYTHON, Running, Site, until

from echo_tasks.local import census
from echo_tasks.settings import load

pytestmark = pytest.mark.farm

STEADY = "import os, signal, sys, time\nprint('pid', os.getpid(), flush=True)\n"


@pytest.fixture
def own(tmp_path: Path) -> Site:
    """A site of this test's own."""
    return Site(tmp_path)


def kept(site: Site, program: str) -> AbstractContextManager[Running]:
    """What stands in for a small Python program."""
    return site.supervised("small", PYTHON, "-c", program)


def pids(small: Running) -> list[int]:
    """The program's pids so far, the latest last."""
    return [int(line.split()[1]) for line in small.text().splitlines() if line.startswith("pid ")]


def started(small: Running, times: int = 1) -> int:
    """The pid of the program's start number `times`."""
    return int(until(lambda: len(pids(small)) >= times and pids(small), f"start {times}")[-1])


def test_a_killed_process_comes_back_and_the_restart_is_written_down(own: Site) -> None:
    """After a SIGKILL there is another process within seconds, and a record of how often and why."""
    with kept(own, STEADY + "time.sleep(600)") as small:
        first = started(small)
        psutil.Process(first).kill()
        assert started(small, times=2) != first
        record = json.loads((own.folder / "var" / "run" / "small.json").read_text())
        assert (record["count"], record["reason"]) == (1, "killed by SIGKILL")
        assert record["keeper_pid"] == (own.supervisor() or {})["pid"]
        pause_s = float(own.env.get("RESTART_PAUSE_S", 1))
        assert f"small has ended (killed by SIGKILL); it is started again in {pause_s:g} s" in small.text()


def test_a_clean_end_that_nobody_asked_for_is_restarted_too(own: Site) -> None:
    """Flower's button "Shut down" and `celery control shutdown` end a worker with 0; the farm keeps having one."""
    with kept(own, STEADY + "time.sleep(0.2)") as small:
        started(small, times=2)
        assert "small has ended (exit status 0)" in small.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_reaches_the_process_once_and_its_status_is_ours(own: Site, number: int) -> None:
    """The process takes its time to end in its own way; it is waited for, and not started again."""
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
    with kept(own, STEADY + hup + "\nwhile True: time.sleep(1)") as small:
        until(lambda: "set" in small.text(), "the handler is set")
        small.send(signal.SIGHUP)
        until(lambda: "reloaded" in small.text(), "it was passed on")
        assert small.process.poll() is None
        assert len(pids(small)) == 1


def test_a_misconfigured_process_is_not_tried_again(own: Site) -> None:
    """Exit status 78 says that the next start would end the same: that is its end."""
    with kept(own, STEADY + "sys.exit(78)") as small:
        assert until(lambda: small.process.poll(), "it ends") == 78
        assert len(pids(small)) == 1


def test_a_crash_loop_ends_in_one_clear_message(own: Site) -> None:
    """Five deaths before it was ever healthy: the process is named, its end and its last words."""
    with kept(own, STEADY + "sys.exit('no such thing as a model')") as small:
        assert until(lambda: small.process.poll(), "it ends", 90) == 1
        assert len(pids(small)) == 5
        verdict = small.text().split("small has ended 5 times")[1]
        assert "exit status 1" in verdict
        assert "    no such thing as a model" in verdict


def test_a_program_that_is_not_there_is_named(own: Site) -> None:
    """Neither a traceback nor another try."""
    with own.supervised("small", "no-such-program") as small:
        assert until(lambda: small.process.poll(), "it ends") == 127
        assert small.text() == "small cannot be started: no-such-program: No such file or directory\n"


def test_a_pause_is_cut_short_by_a_signal_to_stop(own: Site) -> None:
    """Between two starts there is no process, and nothing to wait for."""
    own.env["RESTART_PAUSE_S"] = "10"
    with kept(own, STEADY + "sys.exit(1)") as small:
        until(lambda: "again in" in small.text(), "a death")
        assert small.stop(signal.SIGTERM) == 128 + signal.SIGTERM
        assert len(pids(small)) == 1


@pytest.mark.parametrize("victim", ["supervisor", "guard"])
def test_a_killed_supervisor_or_guard_is_not_felt(own: Site, victim: str) -> None:
    """Another one takes over: the program runs on, its lines come as before, and a later death is seen to."""
    ticks = "while True: print('tick', flush=True); time.sleep(0.05)"
    with kept(own, STEADY + ticks) as small:
        first, supervisor = started(small), (own.supervisor() or {})["pid"]
        for _ in range(2):
            one = psutil.Process((own.supervisor() or {})["pid"] if victim == "supervisor" else guard_of(own))
            one.kill()
            until(lambda: own.supervisor() and one.pid not in (supervisor_pid(own), guard_of(own)), "another one")  # noqa: B023
        ticked = small.text().count("tick")
        until(lambda: small.text().count("tick") > ticked + 5, "its lines come")
        assert pids(small) == [first]
        psutil.Process(first).kill()
        assert started(small, times=2) != first
        assert "has ended" in small.text()
        if victim == "guard":
            assert supervisor_pid(own) == supervisor
        assert small.stop() == 128 + signal.SIGTERM


def test_a_guard_that_is_stopped_is_replaced(own: Site) -> None:
    """It does not answer; were it only left alone, it would start a second supervisor when it goes on."""
    with kept(own, STEADY + "time.sleep(600)") as small:
        supervisor, guard = supervisor_pid(own), psutil.Process(guard_of(own))
        guard.suspend()
        psutil.Process(started(small)).kill()  # what comes in its place is to be kept
        started(small, times=2)
        until(lambda: guard_of(own) not in (0, guard.pid), "another guard")
        assert supervisor_pid(own) == supervisor
        assert not guard.is_running() or guard.status() == psutil.STATUS_ZOMBIE


def test_a_supervisor_that_goes_on_knows_what_became_of_programs_before(own: Site) -> None:
    """How often they were started again is written down by the one as by the other."""
    with kept(own, STEADY + "time.sleep(600)") as small:
        psutil.Process(started(small)).kill()
        second = started(small, times=2)
        psutil.Process(supervisor_pid(own)).kill()
        until(lambda: own.pid_of("small") == second, "another supervisor")
        record = json.loads((own.folder / "var" / "run" / "small.json").read_text())
        assert (record["count"], record["keeper_pid"]) == (1, supervisor_pid(own))


def test_a_program_outlives_what_stands_in_for_it(own: Site) -> None:
    """Killed, or read by nobody: it runs on, and the next one stands in for it as it is."""
    with kept(own, STEADY + "time.sleep(600)") as small:
        first = started(small)
        small.stop(signal.SIGKILL)
        with own.supervised("small", "never started") as again:
            until(lambda: own.pid_of("small") == first, "it runs on")
            assert again.process.poll() is None
    until(lambda: not psutil.pid_exists(first), "and ends when it is told to")


def test_what_was_killed_with_its_supervisor_and_guard_is_cleaned_up(own: Site) -> None:
    """Both at once leave programs behind; the next supervisor ends those before it begins."""
    with kept(own, STEADY + "time.sleep(600)") as small:
        first = started(small)
        both = psutil.Process(guard_of(own)), psutil.Process(supervisor_pid(own))
        for one in both:
            one.suspend()
        for one in both:
            one.kill()
        until(lambda: own.pid_of("small") not in (None, first), "another one, by what stands in for it")
        assert first not in {one.pid for one in census.processes(load(own.env))}


def guard_of(site: Site) -> int:
    """The pid of the guard: it has the farm's mark, and its module's name."""
    for process in census.processes(load(site.env)):
        with suppress(psutil.Error):
            if process.cmdline()[1:3] == ["-m", "echo_tasks.local.guard"]:
                return process.pid
    return 0


def supervisor_pid(site: Site) -> int:
    pid: int = until(site.supervisor, "a supervisor answers")["pid"]
    return pid


def test_what_a_killed_process_leaves_behind_is_ended(own: Site) -> None:
    """A master's own children, which may hold its port, go before its successor starts."""
    forks = "child = os.fork()\nif child == 0: print('grandchild', os.getpid(), flush=True)\ntime.sleep(600)"
    with kept(own, STEADY + forks) as small:
        until(lambda: "grandchild" in small.text(), "it has forked")
        grandchild = psutil.Process(int(small.text().split("grandchild ")[1].split()[0]))
        psutil.Process(started(small)).kill()
        until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE, "it is gone")
        started(small, times=2)
