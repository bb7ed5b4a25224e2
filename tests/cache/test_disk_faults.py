"""The disk tier where the disk fails it: no folder, no room; and where its calls run in a pool of threads."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import ROOT

from cache.disk import DiskTier
from cache.tier import Entry, TierFault


def entry(value: bytes | None = b"value", left_s: float = 600.0) -> Entry:
    """An entry that is made now."""
    now = time.time()
    return Entry(value, now, now + left_s, now + left_s)


def test_a_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    """Every method says so, by TierFault."""
    (tmp_path / "file").touch()
    tier = DiskTier(tmp_path / "file" / "folder", 1000)
    for call in (tier.clear, tier.sweep, tier.size):
        with pytest.raises(TierFault):
            call()
    for keyed in (tier.get, tier.delete):
        with pytest.raises(TierFault):
            keyed("key")
    for kept in (tier.set, tier.add):
        with pytest.raises(TierFault):
            kept("key", entry())


NO_ROOM = """
import resource, signal, sys, time
from pathlib import Path
from cache.disk import DiskTier
from cache.tier import MISS, Entry, TierFault

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
tier = DiskTier(Path(sys.argv[1]), 10**9)
entry = lambda size: Entry(bytes(size), time.time(), time.time() + 600, time.time() + 600)
tier.set("before", entry(1000))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
for size in (1000, 400_000):
    faults = 0
    for number in range(300):
        try:
            tier.set(f"{size} {number}", entry(size))
        except TierFault:
            faults += 1
    print(size, faults > 0)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
tier.set("after", entry(400_000))
print(tier.get("after") is not MISS, tier.get("before") is not MISS)
"""


def python(program: str, *arguments: str) -> list[str]:
    """The lines that a program prints."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_no_room_is_a_fault(tmp_path: Path) -> None:
    """Files that may not grow fail a write by TierFault, in database and file; nothing kept is lost by that."""
    assert python(NO_ROOM, str(tmp_path / "disk")) == ["1000 True", "400000 True", "True True"]


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import contextlib, os, sys, time
from pathlib import Path
import gevent, gevent.pool
from cache.disk import DiskTier
from cache.tier import MISS, Entry

threads = gevent.get_hub().threadpool
threads.maxsize = 4
tier = DiskTier(Path(sys.argv[1]), 10**8, run=threads.apply)
most = 0

def opened():
    found = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += "cache.db" in os.readlink(f"/proc/self/fd/{number}")
    return found

def work(number):
    global most
    entry = Entry(str(number).encode() * 20_000, time.time(), time.time() + 600, time.time() + 600)
    tier.set(str(number), entry)
    found = tier.get(str(number))
    assert found == entry, number
    assert tier.delete(str(number))
    if number % 20 == 0:
        most = max(most, opened())

pool = gevent.pool.Group()
jobs = pool.map(work, range(300))
print(len(jobs), most, opened())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts its files in /proc")
def test_greenlets_share_the_connections_of_a_few_threads(tmp_path: Path) -> None:
    """Hundreds at once work, and the open files are those of the pool's threads: at most three each."""
    done, most, at_last = python(GREENLETS, str(tmp_path / "disk"))[0].split()
    assert done == "300"
    assert 0 < int(most) <= 3 * 4
    assert int(at_last) <= 3 * 4
