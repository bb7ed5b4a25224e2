"""The speed benchmarks run from beginning to end, on a tiny model; what they measure is nobody's business here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

pytestmark = pytest.mark.farm


def bench(*arguments: str, json_file: Path) -> str:
    """What a benchmark prints."""
    command = [sys.executable, "-m", "bench", *arguments, "--json", str(json_file)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("ECHO_")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=170)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.timeout(180)
def test_bench_engine_compares_the_engine_with_its_peers(tmp_path: Path) -> None:
    """A row for each engine and load, with tokens a second, and the gaps between tokens beside a prompt."""
    load = ["--shape", "tiny", "--rows", "1", "3", "--prompts", "40", "--tokens", "6", "--repeats", "2"]
    printed = bench("engine", *load, json_file=tmp_path / "engine.json")
    assert "streams while" in printed
    measured = json.loads((tmp_path / "engine.json").read_text())
    loads = {(row["engine"], row["load"]) for row in measured["rows"]}
    ours = {("echo", "decode, 1 row"), ("echo", "decode, 3 rows"), ("echo", "prefill, 40 tokens")}
    assert loads >= ours | {("rwkv package", "decode, 1 row"), ("rwkv package", "prefill, 40 tokens")}
    assert all(len(row["tokens_per_s"]) == 2 and min(row["tokens_per_s"]) > 0 for row in measured["rows"])
    assert all(gap["alone_s"] and gap["beside_s"] for gap in measured["gaps"])


@pytest.mark.timeout(180)
def test_bench_farm_compares_whole_jobs(tmp_path: Path) -> None:
    """The farm over HTTP, the engine alone and a plain Celery worker do the same jobs."""
    load = ["--shape", "tiny", "--clients", "3", "--tokens", "5", "--peer-tokens", "3", "--repeats", "1"]
    bench("farm", *load, json_file=tmp_path / "farm.json")
    measured = json.loads((tmp_path / "farm.json").read_text())
    rates = {row["contender"]: row["tokens_per_s"][0] for row in measured["rows"]}
    assert set(rates) == {"farm, over HTTP", "engine alone", "decode alone", "Celery prefork"}
    assert min(rates.values()) > 0
    assert measured["rows"][0]["clients"] == 3


@pytest.mark.timeout(180)
def test_bench_cache_compares_every_tier_with_its_library(tmp_path: Path) -> None:
    """A hit in each tier beside the same from cachetools, redis-py and diskcache, in every round."""
    printed = bench("cache", "--rounds", "2", json_file=tmp_path / "cache.json")
    assert "diskcache" in printed
    ratios = json.loads((tmp_path / "cache.json").read_text())
    assert set(ratios) == {"L1, 4 KiB", "L2, 4 KiB", "L2, 2.4 MB", "L3, 4 KiB", "L3, 2.4 MB"}
    assert all(len(of) == 2 and min(of) > 0 for of in ratios.values())
