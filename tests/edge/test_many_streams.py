"""Idle event streams through the edge, on one API process: hundreds, and ten thousand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

from bench import streams

pytestmark = [pytest.mark.farm, pytest.mark.timeout(400)]

SIZES = [(300, 10), pytest.param(10_000, 200, marks=pytest.mark.long)]

IDLE_S = 18
"""Longer than the 15 seconds between two heartbeats."""

MOST_BYTES = 100_000
"""Of the API's memory for each stream: ten thousand take less than a gibibyte."""


@pytest.mark.parametrize(("count", "jobs"), SIZES)
def test_idle_streams_have_heartbeats_and_take_little_memory(tmp_path: Path, count: int, jobs: int) -> None:
    """Each stream has a heartbeat while it is idle and its job's end; none is cut off, and memory is bounded."""
    if reason := streams.unable(count):
        pytest.skip(reason)
    load = ["--streams", str(count), "--jobs", str(jobs), "--idle-s", str(IDLE_S)]
    command = [sys.executable, "-m", "bench", "streams", *load, "--json", str(tmp_path / "told.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["begun"], told["ended"], told["faults"]) == (count, count, 0), told
    assert told["heartbeats"] >= count
    assert told["idle_mib"] - told["empty_mib"] < count * MOST_BYTES / streams.MIB, told
    assert told["most_mib"] < 1024
    assert len(told["asked_ms"]) >= 1
