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


TRACE = ROOT.parent / "shared" / "traces" / "arrivals" / "mooncake-synthetic.jsonl"


def bench(*arguments: str, json_file: Path) -> str:
    """What a benchmark prints."""
    command = [sys.executable, "-m", "bench", *arguments, "--json", str(json_file)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("ECHO_")} | {"ECHO_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=390)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.timeout(180)
def test_bench_engine_compares_the_engine_with_its_peers(tmp_path: Path) -> None:
    """A row for each engine and load, with tokens a second, and the gaps between tokens beside a prompt."""
    load = [
        "--shape",
        "tiny",
        "--rows",
        "1",
        "3",
        "--prompts",
        "40",
        "--tokens",
        "8",
        "--repeats",
        "1",
        "--beside",
        "60",
    ]
    printed = bench("engine", *load, json_file=tmp_path / "engine.json")
    assert "streams while" in printed
    measured = json.loads((tmp_path / "engine.json").read_text())
    loads = {(row["engine"], row["load"]) for row in measured["rows"]}
    ours = {("echo", "decode, 1 row"), ("echo", "decode, 3 rows"), ("echo", "prefill, 40 tokens")}
    assert loads >= ours | {("rwkv package", "decode, 1 row"), ("rwkv package", "prefill, 40 tokens")}
    assert all(len(row["tokens_per_s"]) == 1 and min(row["tokens_per_s"]) > 0 for row in measured["rows"])
    assert all(gap["alone_s"] and gap["beside_s"] for gap in measured["gaps"])


@pytest.mark.timeout(180)
def test_bench_farm_compares_whole_jobs(tmp_path: Path) -> None:
    """The farm over HTTP, the engine alone and a plain Celery worker do the same jobs."""
    load = ["--shape", "tiny", "--clients", "3", "--tokens", "2", "--peer-tokens", "2", "--repeats", "1"]
    bench("farm", *load, json_file=tmp_path / "farm.json")
    measured = json.loads((tmp_path / "farm.json").read_text())
    rates = {row["contender"]: row["tokens_per_s"][0] for row in measured["rows"]}
    assert set(rates) == {"farm, over HTTP", "engine alone", "decode alone", "Celery prefork"}
    assert min(rates.values()) > 0
    assert measured["rows"][0]["clients"] == 3


def test_bench_fsync_compares_both_policies(tmp_path: Path) -> None:
    """Jobs a second with one client and with sixteen, in every round."""
    printed = bench("fsync", "--rounds", "2", "--jobs", "20", json_file=tmp_path / "fsync.json")
    assert "| always |" in printed
    measured = json.loads((tmp_path / "fsync.json").read_text())
    assert set(measured) == {"everysec 1", "everysec 16", "always 1", "always 16"}
    assert all(len(per_s) == 2 and min(per_s) > 0 for per_s in measured.values())


@pytest.mark.timeout(180)
def test_bench_cache_compares_every_tier_with_its_library(tmp_path: Path) -> None:
    """A hit in each tier beside the same from cachetools, redis-py and diskcache, in every round."""
    printed = bench("cache", "--rounds", "2", "--calls-ratio", "0.01", json_file=tmp_path / "cache.json")
    assert "diskcache" in printed
    ratios = json.loads((tmp_path / "cache.json").read_text())
    assert set(ratios) == {"L1, 4 KiB", "L2, 4 KiB", "L2, 2.4 MB", "L3, 4 KiB", "L3, 2.4 MB"}
    assert all(len(of) == 2 and min(of) > 0 for of in ratios.values())


@pytest.mark.timeout(180)
def test_bench_resume_continues_a_session_at_another_worker(tmp_path: Path) -> None:
    """It reads all of it once, and only the rest the second time, and says the same."""
    load = ["--shape", "tiny", "--history", "300", "--tokens", "4", "--rounds", "1"]
    bench("resume", *load, json_file=tmp_path / "resume.json")
    for measured in json.loads((tmp_path / "resume.json").read_text()):
        assert measured["cold"]["text"] == measured["resumed"]["text"]
        assert measured["cold"]["cached_tokens"] < 100 < measured["resumed"]["cached_tokens"]


@pytest.mark.timeout(180)
def test_bench_states_compares_two_formats(tmp_path: Path) -> None:
    """For a trained and a random model: accuracy, and the cost of either format."""
    load = ["--shape", "tiny", "--prompts", "2", "--tokens", "4", "--repeats", "2"]
    bench("states", *load, json_file=tmp_path / "states.json")
    measured = json.loads((tmp_path / "states.json").read_text())
    assert [row["model"] for row in measured["accuracy"]] == ["echo-mini", "tiny, random"]
    assert all(0 < row["mean_error_ratio"] < 0.01 for row in measured["accuracy"])
    assert all(fp16["bytes"] < 0.6 * fp32["bytes"] for fp32, fp16 in zip(*[iter(measured["cost"])] * 2, strict=True))


@pytest.mark.timeout(180)
def test_bench_prefixes_replays_a_trace(tmp_path: Path) -> None:
    """Where the trace is; with room for all nearly all of it is reused, and by ranks no less than without."""
    if not TRACE.exists():
        pytest.skip(f"the trace {TRACE} is not here")
    bench("prefixes", "--prompts", "150", "--shares", "4", json_file=tmp_path / "prefixes.json")
    everything, ours, lru = json.loads((tmp_path / "prefixes.json").read_text())
    assert everything["reused_ratio"] >= 0.9
    assert ours["policy"] == "ranked"
    assert ours["reused_ratio"] >= lru["reused_ratio"]


def test_bench_prefixes_says_that_the_trace_is_missing(tmp_path: Path) -> None:
    """And fails nothing."""
    assert "skipped" in bench("prefixes", "--trace", str(tmp_path / "none"), json_file=tmp_path / "none.json")


def test_bench_scaling_compares_every_peer(tmp_path: Path) -> None:
    """Each peer on a few of the generated bursts, and our decision beside it; nobody who works is ended."""
    load = ["--only", "gamma-cv13", "--days", "0", "--burst-jobs", "1000", "--shared-hours", "0.3"]
    printed = bench("scaling", *load, json_file=tmp_path / "scaling.json")
    assert "| beside | loads |" in printed
    measured = json.loads((tmp_path / "scaling.json").read_text())
    peers = {"HPA", "KEDA list", "Ray Serve", "Celery", "plus-or-minus-one"}
    assert {row["peer"] for row in measured["rows"]} == peers
    assert not any(row["ours"]["killed"] for row in measured["rows"])
    assert {row["scaler"] for row in measured["shared"]} == {"ours", *peers}


@pytest.mark.long
def test_bench_scaling_compares_at_the_same_price(tmp_path: Path) -> None:
    """Each peer on the generated bursts, and our decision for the same worker-seconds; nobody who works is ended."""
    printed = bench("scaling", "--only", "gamma-cv13", "--days", "0", json_file=tmp_path / "scaling.json")
    assert "| beside | loads |" in printed
    rows = json.loads((tmp_path / "scaling.json").read_text())["rows"]
    assert {row["peer"] for row in rows} == {"HPA", "KEDA list", "Ray Serve", "Celery", "plus-or-minus-one"}
    assert all(row["near"] and not row["ours"]["killed"] for row in rows)
    assert {row["peer"] for row in rows if row["lower"]} >= {"HPA", "plus-or-minus-one"}


@pytest.mark.long  # two farms, started one after the other
@pytest.mark.timeout(400)
def test_bench_surge_watches_a_farm_grow(tmp_path: Path) -> None:
    """With the controller left alone, and killed: every job is answered, none is begun twice, one worker is left."""
    load = ["--rate", "1", "--before-s", "2", "--surge-s", "6", "--interval-s", "1", "--most", "2"]
    printed = bench("surge", *load, json_file=tmp_path / "surge.json")
    assert "controller killed after" in printed
    alone, killed = [json.loads(line) for line in (tmp_path / "surge.json").read_text().splitlines()]
    assert (alone["killed_at"], killed["killed_at"] > 0) == (None, True)
    assert [(run["lost"], run["again"]) for run in (alone, killed)] == [(0, 0), (0, 0)]
    assert [run["seen"][-1][1] for run in (alone, killed)] == [1, 1]


@pytest.mark.long  # two farms at once
@pytest.mark.timeout(400)
def test_bench_versions_compares_two_farms(tmp_path: Path) -> None:
    """This one with itself: every job of every round is answered, at either."""
    load = ["--rounds", "2", "--jobs", "16", "--tokens", "4", "--other-set", "LOG_LEVEL=WARNING"]
    printed = bench("versions", *load, json_file=tmp_path / "versions.json")
    assert "LOG_LEVEL=WARNING" in printed
    measured = json.loads((tmp_path / "versions.json").read_text())
    assert [len(pairs) for pairs in measured.values()] == [2, 2]
    assert {len(job_s) for pairs in measured.values() for pair in pairs for job_s in pair} == {16}
