"""Idle event streams through the edge, on one API process: hundreds, and ten thousand."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from asking import Open, ask
from processes import ROOT

from bench import edge, streams
from bench.edge import Edge
from bench.followers import Counts, Followers

pytestmark = [pytest.mark.farm, pytest.mark.timeout(400)]

FEW, MANY = 300, 10_000

STREAM_BYTES = 100_000
"""Of the API's memory, at most: ten thousand take less than a gibibyte."""

LIMITLESS = dict.fromkeys(("EDGE_CONNECTIONS", "EDGE_REQUESTS_PER_S", "EDGE_REQUESTS_BURST"), "60000")


def test_hundreds_of_idle_streams_have_heartbeats(without_keys: Open) -> None:
    """Each has a heartbeat while nothing happens, and its job's end; none is cut off, and memory is bounded."""
    front = without_keys.front
    jobs = [ask(front, "POST", "/api/jobs", {"input_text": "a"}).json["job_id"] for _ in range(10)]
    (process,) = psutil.Process(without_keys.api.process.pid).children()
    before = process.memory_info().rss

    async def held(following: Edge) -> Counts:
        followers = Followers(following.https_port, following.tls(), jobs, FEW)
        await followers.begun(60)
        while followers.counts.heartbeats < FEW and not followers.counts.faults:  # 15 s
            await asyncio.sleep(0.2)
        assert process.memory_info().rss - before < FEW * STREAM_BYTES
        for job_id in jobs:
            await asyncio.to_thread(ask, front, "DELETE", f"/api/jobs/{job_id}")
        await followers.over(60)
        return followers.counts

    with edge.before([without_keys.port], LIMITLESS) as following:
        counts = asyncio.run(held(following))
    assert (counts.begun, counts.ended, counts.faults) == (FEW, FEW, 0), counts


@pytest.mark.long
def test_ten_thousand_idle_streams_take_less_than_a_gibibyte(tmp_path: Path) -> None:
    """Each has a heartbeat while nothing happens, and its job's end in the end; nobody is cut off meanwhile."""
    if reason := streams.unable(MANY):
        pytest.skip(reason)
    load = ["--streams", str(MANY), "--jobs", "200", "--idle-s", "18", "--json", str(tmp_path / "told.json")]
    done = subprocess.run([sys.executable, "-m", "bench", "streams", *load], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["begun"], told["ended"], told["faults"]) == (MANY, MANY, 0), told
    assert told["heartbeats"] >= MANY
    assert told["most_mib"] < 1024
    assert len(told["asked_ms"]) >= 1
