"""Replacing what is kept: no pause, no restart counted, and nobody at the door is refused."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from processes import PYTHON, Running, Site, until

from echo_tasks.local import wire

pytestmark = pytest.mark.farm

ANSWERING = """
import os, signal, socket, sys, time
print("pid", os.getpid(), flush=True)
if os.path.exists(sys.argv[2]): sys.exit(3)
door = socket.socket(fileno=int(sys.argv[1]))
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
door.settimeout(0.05)
while not asked:
    try:
        caller, _ = door.accept()
    except TimeoutError:
        continue
    caller.sendall(str(os.getpid()).encode())
    caller.close()
door.close()
time.sleep(0.5)
"""


@pytest.fixture
def own(tmp_path: Path) -> Site:
    """A site of this test's own."""
    return Site(tmp_path)


def record(site: Site) -> dict[str, int]:
    """What the supervisor has written down."""
    told: dict[str, int] = json.loads((site.folder / "var" / "run" / "small.json").read_text())
    return told


@contextmanager
def at_the_door(site: Site) -> Iterator[Running]:
    """A program that has a door, and answers there with its pid, unless a file `bad` is there."""
    command = (PYTHON, "-c", ANSWERING, "{door}", str(site.folder / "bad"))
    with site.supervised("small", *command, flag="--door") as small:
        until(lambda: "pid" in small.text(), "it starts")
        yield small


def answered(site: Site) -> int:
    """The pid of whoever opens; raises OSError when nobody does."""
    with socket.create_connection(("127.0.0.1", int(site.env["API_PORT"])), timeout=10) as caller:
        return int(caller.recv(100))


def test_what_has_a_port_of_its_own_is_followed_at_once(own: Site) -> None:
    """The successor comes when the process has ended, and that was no death."""
    program = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(600)"
    with own.supervised("small", PYTHON, "-c", program) as small:
        until(lambda: "pid" in small.text(), "it starts")
        assert wire.ask(own.var, {"replace": "small"}) == {"ok": True}
        until(lambda: small.text().count("pid") == 2, "its successor starts", 5)
        assert (record(own)["replaced"], record(own)["count"]) == (1, 0)


def test_nobody_at_the_door_is_refused(own: Site) -> None:
    """Neither while one takes over from the other, nor after a death, when there is nobody for a second."""
    with at_the_door(own):
        first = answered(own)
        assert wire.ask(own.var, {"replace": "small"}) == {"ok": True}
        seen = set()
        while record(own)["replaced"] == 0:
            seen.add(answered(own))
        assert first in seen
        (second,) = {answered(own) for _ in range(20)}
        assert second not in {first, None}
        psutil.Process(second).kill()
        assert answered(own) not in {first, second}
        assert (record(own)["replaced"], record(own)["count"]) == (1, 1)


def test_a_successor_that_cannot_start_replaces_nobody(own: Site) -> None:
    """The process goes on; the next try may do."""
    with at_the_door(own) as small:
        first = answered(own)
        (own.folder / "bad").touch()
        assert wire.ask(own.var, {"replace": "small"}) == {"ok": True}
        until(lambda: "small goes on: its successor has ended (exit status 3)" in small.text(), "it is said")
        assert answered(own) == first
        assert (record(own)["replaced"], record(own)["count"]) == (0, 0)
        (own.folder / "bad").unlink()
        assert wire.ask(own.var, {"replace": "small"}) == {"ok": True}
        until(lambda: record(own)["replaced"] == 1, "it is replaced", 15)
        assert answered(own) != first


def test_a_taken_door_is_told_of_in_a_line(own: Site) -> None:
    """With the status of a process that is misconfigured."""
    taken = socket.create_server(("127.0.0.1", int(own.env["API_PORT"])))
    with taken, own.supervised("small", "true", flag="--door") as small:
        assert small.process.wait(60) == 78
        assert f"API_PORT={own.env['API_PORT']}: Address already in use" in small.text()


def test_the_door_outlives_a_killed_supervisor(own: Site) -> None:
    """Whoever comes while there is neither the program nor its supervisor stands in line."""
    with at_the_door(own):
        first = answered(own)
        psutil.Process((own.supervisor() or {})["pid"]).kill()
        psutil.Process(first).kill()
        assert answered(own) not in {0, first}
