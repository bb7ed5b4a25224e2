"""Ten thousand idle event streams through the edge, on one API process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

from bench import streams

pytestmark = [pytest.mark.farm, pytest.mark.timeout(400)]

STREAMS = 10_000


def test_ten_thousand_idle_streams_take_less_than_a_gibibyte(tmp_path: Path) -> None:
    """Each has a heartbeat while nothing happens, and its job's end in the end; nobody is cut off meanwhile."""
    if reason := streams.unable(STREAMS):
        pytest.skip(reason)
    load = ["--streams", str(STREAMS), "--jobs", "200", "--idle-s", "18", "--json", str(tmp_path / "told.json")]
    done = subprocess.run([sys.executable, "-m", "bench", "streams", *load], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["begun"], told["ended"], told["faults"]) == (STREAMS, STREAMS, 0), told
    assert told["heartbeats"] >= STREAMS
    assert told["most_mib"] < 1024
    assert len(told["asked_ms"]) >= 1
