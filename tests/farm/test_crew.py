"""A crew and its members: how many there are, restarts, drained ones, ends. Small programs stand for workers."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from processes import PYTHON, Running, Site, until

from echo_tasks.local.roster import Roster, Wanted
from echo_tasks.settings import load

pytestmark = pytest.mark.farm

STEADY = """
import os, signal, sys, time
me = sys.argv[sys.argv.index('-n') + 1].split('@')[0]
print('pid', os.getpid(), me, flush=True)
"""
FOR_LONG = STEADY + "time.sleep(600)"
LEAVES = STEADY + "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(0))\nprint('set', flush=True)\ntime.sleep(600)"


class Crewed:
    """A crew, its folder's number, and its members as the processes that they are."""

    def __init__(self, site: Site, running: Running) -> None:
        self.running = running
        self.site = site
        self.roster = Roster("small", load(site.env))

    def members(self) -> list[psutil.Process]:
        found = []
        for pid in (self.site.supervisor() or {"programs": {}})["programs"].values():
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return found

    def pids(self, name: str) -> list[int]:
        """The pids that a member of this name has had, the latest last."""
        lines = [line.split() for line in self.running.text().splitlines() if "] pid " in line]
        return [int(words[2]) for words in lines if words[3] == name]

    def until_there_are(self, count: int) -> None:
        until(lambda: len(self.members()) == count, f"{count} members")

    def until_told(self, what: str, times: int = 1) -> None:
        until(lambda: self.running.text().count(what) >= times, what)


@contextmanager
def crew(folder: Path, program: str, **env: str) -> Iterator[Crewed]:
    site = Site(folder, {"MIN_INSTANCES": "1", "MAX_INSTANCES": "4"} | env)
    with site.supervised("small", PYTHON, "-c", program, flag="--crew") as running:
        yield Crewed(site, running)


def test_there_are_as_many_as_are_wanted_within_the_bounds(tmp_path: Path) -> None:
    """The least at first; more when more are wanted, each under a name of its own; never more than may be."""
    with crew(tmp_path, FOR_LONG, MIN_INSTANCES="2") as small:
        small.until_there_are(2)
        assert small.roster.wanted() == Wanted(2)
        small.roster.change(+1)
        until(lambda: small.pids("small3"), "the third one")
        small.roster.change(+9)
        assert small.roster.wanted() == Wanted(4)
        until(lambda: all(small.pids(f"small{number}") for number in (1, 2, 3, 4)), "each has begun")
        small.until_there_are(4)
        assert {len(small.pids(f"small{number}")) for number in (1, 2, 3, 4)} == {1}
        assert "[2] pid " in small.running.text()


def test_a_number_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    """Half a file, or none, is no order."""
    with crew(tmp_path, FOR_LONG, MIN_INSTANCES="2") as small:
        small.until_there_are(2)
        file = tmp_path / "var" / "run" / "small.wanted"
        for text in ("", "[]", '{"count": "many", "leaving": []}'):
            file.write_text(text)
            assert small.roster.wanted() is None
        members = small.members()
        members[0].kill()
        until(lambda: "started again" in small.running.text() and len(small.members()) == 2, "it is restarted")
        assert members[1] in small.members()


def test_a_killed_member_comes_back_under_its_name_and_the_others_do_not_notice(tmp_path: Path) -> None:
    """Its restarts are written down, and theirs are none."""
    with crew(tmp_path, FOR_LONG, MIN_INSTANCES="2") as small:
        until(lambda: small.pids("small1") and small.pids("small2"), "both")
        psutil.Process(small.pids("small2")[0]).kill()
        until(lambda: len(small.pids("small2")) == 2, "it is back")
        assert len(small.pids("small1")) == 1
        records = [json.loads((tmp_path / "var" / "run" / f"small.{n}.json").read_text()) for n in (1, 2)]
        assert [(one["count"], one["reason"]) for one in records] == [(0, ""), (1, "killed by SIGKILL")]
        assert {one["keeper_pid"] for one in records} == {(small.site.supervisor() or {})["pid"]}


def test_a_drained_member_is_not_missed(tmp_path: Path) -> None:
    """It ends with 0: one fewer is wanted, nobody takes its place, and its record goes."""
    with crew(tmp_path, LEAVES) as small:
        small.until_told("set")
        small.roster.change(+2)
        small.until_told("set", 3)
        psutil.Process(small.pids("small2")[0]).send_signal(signal.SIGUSR1)
        small.until_told("small.2 was drained, and has left")
        small.until_there_are(2)
        until(lambda: small.roster.wanted() == Wanted(2), "two are wanted")
        assert not (tmp_path / "var" / "run" / "small.2.json").exists()
        small.roster.change(+1)
        until(lambda: len(small.pids("small2")) == 2, "the name is free again")


def test_one_that_is_released_leaves_room_before_it_is_gone(tmp_path: Path) -> None:
    """Told to drain and still at work, it is not one of those that are wanted: another one can be had meanwhile."""
    with crew(tmp_path, LEAVES) as small:
        small.until_told("set")
        small.roster.change(+1)
        small.until_told("set", 2)
        node = small.roster.node(2)
        small.roster.release(node), small.roster.release(node)
        assert small.roster.wanted() == Wanted(1, (node,))
        small.roster.change(+1)
        until(lambda: small.pids("small3"), "another one")
        psutil.Process(small.pids("small2")[0]).send_signal(signal.SIGUSR1)
        small.until_there_are(2)
        until(lambda: small.roster.wanted() == Wanted(2), "it is struck off, and counts no second time")


def test_the_last_ones_place_is_taken(tmp_path: Path) -> None:
    """Fewer than the least there never are: Flower's button "Shut down" gives a fresh worker."""
    with crew(tmp_path, LEAVES) as small:
        small.until_told("set")
        psutil.Process(small.pids("small1")[0]).send_signal(signal.SIGUSR1)
        until(lambda: len(small.pids("small1")) == 2, "another one")
        assert small.roster.wanted() == Wanted(1)


def test_a_signal_to_stop_reaches_all_once_and_the_crew_waits_for_them(tmp_path: Path) -> None:
    """Each takes its time to end in its own way; none is started again."""
    stops = "def stop(*_):\n print('stops', flush=True)\n time.sleep(1)\n sys.exit(7)\n"
    program = STEADY + stops + f"signal.signal({int(signal.SIGTERM)}, stop)\nprint('set', flush=True)\ntime.sleep(600)"
    with crew(tmp_path, program, MIN_INSTANCES="2") as small:
        small.until_told("set", 2)
        members = small.members()
        assert small.running.stop() == 7
        assert small.running.text().count("stops") == 2
        assert not any(member.is_running() for member in members)


def test_a_crash_loop_of_all_ends_the_crew_with_the_last_words(tmp_path: Path) -> None:
    """Five deaths before any was ever healthy: what is wrong is wrong with all."""
    with crew(tmp_path, STEADY + "sys.exit('no such thing as a model')", MIN_INSTANCES="2") as small:
        assert until(lambda: small.running.process.poll(), "the crew ends", 90) == 1
        verdict = small.running.text().split("has ended 5 times")[1]
        assert "exit status 1" in verdict
        assert "    no such thing as a model" in verdict


def test_one_that_cannot_run_beside_the_others_is_given_up(tmp_path: Path) -> None:
    """Such as one for which there is no memory: they go on, one fewer is wanted, and none is tried for a while."""
    program = STEADY + "time.sleep(600) if me == 'small1' else sys.exit('no room')"
    with crew(tmp_path, program, RESTART_PAUSE_S="0.3") as small:  # long enough for the looks before another try
        until(lambda: small.pids("small1"), "the first one")
        small.roster.change(+1)
        small.until_told("small.2 is given up; none takes its place for ")
        assert small.roster.wanted() == Wanted(1)
        small.roster.change(+1)
        record = json.loads((tmp_path / "var" / "run" / "small.2.json").read_text())
        assert "no room" in record["verdict"]
        assert (len(small.pids("small1")), len(small.pids("small2"))) == (1, 5)
        assert small.running.process.poll() is None


def test_one_that_finds_no_memory_is_given_up_at_once(tmp_path: Path) -> None:
    """Exit status 75: from then on there are as many as memory suffices for, however many are wanted."""
    program = STEADY + "time.sleep(600) if me == 'small1' else sys.exit(75)"
    with crew(tmp_path, program, RESTART_PAUSE_S="0.05") as small:
        until(lambda: small.pids("small1"), "the first one")
        small.roster.change(+2)
        small.until_told("is given up")
        until(lambda: small.roster.wanted() == Wanted(1, most=1), "one is wanted")
        small.roster.change(+1)
        assert small.roster.wanted() == Wanted(1, most=1)
        assert small.running.process.poll() is None


def test_the_last_one_is_tried_again_though_it_found_no_memory(tmp_path: Path) -> None:
    """Others may have given some back; a crew without anybody serves nobody."""
    with crew(tmp_path, STEADY + "sys.exit(75)", RESTART_PAUSE_S="0.01") as small:
        until(lambda: len(small.pids("small1")) >= 3, "it is tried again")
        assert small.running.process.poll() is None


@contextmanager
def memory_of(megabytes: int) -> Iterator[Path]:
    """A control group with so much memory, of either version; skips where none can be made."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    own = {controllers: folder for _, controllers, folder in lines}
    root = Path("/sys/fs/cgroup")
    base = root / "memory" / own["memory"].lstrip("/") if "memory" in own else root / own.get("", "").lstrip("/")
    limit = "memory.limit_in_bytes" if "memory" in own else "memory.max"
    group = base / f"crew-{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(megabytes << 20))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        yield group
    finally:
        until(lambda: not (group / "cgroup.procs").read_text(), "the group is empty")
        group.rmdir()


def test_one_that_the_kernel_kills_for_memory_is_told_of_and_not_started_again(tmp_path: Path) -> None:
    """Of three that take what there is, one is killed; two go on."""
    takes = "import os, pathlib\nkept = b'x' * (40 << 20) if me != 'small1' else b''\nprint('set', flush=True)\n"
    with memory_of(75) as group:
        program = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n" + STEADY + takes + "time.sleep(600)"
        with crew(tmp_path, program, RESTART_PAUSE_S="0.05") as small:
            small.until_told("set")
            small.roster.change(+1)
            small.until_told("set", 2)
            small.roster.change(+1)
            small.until_told("(killed by SIGKILL, since memory ran out)")
            until(lambda: small.roster.wanted() == Wanted(2, most=2), "two are wanted")
            small.until_there_are(2)


def test_a_misconfigured_member_ends_the_crew_at_once(tmp_path: Path) -> None:
    """Exit status 78 of one: the others end as they are told to."""
    with crew(tmp_path, STEADY + "sys.exit(78) if me == 'small2' else time.sleep(600)", MIN_INSTANCES="2") as small:
        assert until(lambda: small.running.process.poll(), "the crew ends") == 78
        assert len(small.pids("small2")) == 1


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Neither a traceback nor another try."""
    with Site(tmp_path).supervised("small", "no-such-program", flag="--crew") as running:
        assert until(lambda: running.process.poll(), "the crew ends") == 127
        assert running.text() == "[1] small.1 cannot be started: no-such-program: No such file or directory\n"


def test_members_outlive_a_killed_supervisor_and_the_next_one_has_them(tmp_path: Path) -> None:
    """None is started again, or a second time; those that end from then on are seen to as before."""
    with crew(tmp_path, FOR_LONG, MIN_INSTANCES="2") as small:
        until(lambda: small.pids("small1") and small.pids("small2"), "both")
        members = {*small.members()}
        psutil.Process((small.site.supervisor() or {})["pid"]).kill()
        until(lambda: {*small.members()} == members, "the next one has them")
        assert small.roster.is_manned()
        assert small.roster.wanted() == Wanted(2)
        psutil.Process(small.pids("small2")[0]).kill()
        until(lambda: len(small.pids("small2")) == 2, "it is back")
        assert len(small.pids("small1")) == 1


def test_a_member_that_was_drained_is_not_missed_by_the_next_supervisor(tmp_path: Path) -> None:
    """Its exit status is unknown there; that it was told to drain is known. One that was not is started again."""
    with crew(tmp_path, LEAVES, MIN_INSTANCES="2") as small:
        small.until_told("set", 2)
        psutil.Process((small.site.supervisor() or {})["pid"]).kill()
        until(lambda: len(small.members()) == 2, "the next one has them")
        small.roster.change(+1)
        small.until_told("set", 3)
        small.roster.release(small.roster.node(2))
        psutil.Process(small.pids("small2")[0]).send_signal(signal.SIGUSR1)
        small.until_told("small.2 was drained, and has left")
        until(lambda: small.roster.wanted() == Wanted(2), "two are wanted, and none is leaving")
        small.until_there_are(2)
        psutil.Process(small.pids("small1")[0]).send_signal(signal.SIGUSR1)
        until(lambda: len(small.pids("small1")) == 2, "it is back")
