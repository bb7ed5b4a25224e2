"""`python -m bench streams`: thousands of idle event streams through the edge, on one API process: what they cost."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench import edge, site
from bench.edge import Edge
from bench.followers import Followers
from bench.machine import described
from bench.site import Site
from echo_tasks import limits

MIB = 1024 * 1024

_PATIENCE_S = 300.0
_SPARE_FILES = 500
"""Beside the streams' own, of each process."""


@dataclass
class Told:
    """What was seen. Memory is resident, of gunicorn's master and its worker together, and of all of nginx."""

    streams: int
    begun: int = 0
    heartbeats: int = 0
    ended: int = 0
    faults: int = 0
    last_fault: str = ""
    opened_s: float = 0.0
    ended_s: float = 0.0
    empty_mib: float = 0.0
    idle_mib: float = 0.0
    most_mib: float = 0.0
    nginx_mib: float = 0.0
    cpu_share: float = 0.0
    asked_ms: list[float] = field(default_factory=list)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print what came of it."""
    options = _options(arguments)
    if reason := unable(options.streams):
        sys.exit(f"skipped: {reason}")
    limits.raise_open_files()
    told = _measured(options)
    _print(told, options)
    if options.json:
        options.json.write_text(json.dumps(asdict(told)))


def unable(streams: int) -> str:
    """Why this machine cannot hold so many; empty where it can."""
    if reason := edge.missing():
        return reason
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = streams + _SPARE_FILES
    return "" if most >= wanted else f"a process may have {most} open files here, and needs {wanted}"


def _measured(options: argparse.Namespace) -> Told:
    port = site.free_port()
    most = {"MAX_QUEUED_JOBS": "100000", "MAX_QUEUED_PER_MEMBRANE": "100000"}
    limitless = dict.fromkeys(("EDGE_CONNECTIONS", "EDGE_REQUESTS_PER_S", "EDGE_REQUESTS_BURST"), "60000")
    limitless |= {"EDGE_WORKERS": "4"}
    with (
        tempfile.TemporaryDirectory() as folder,
        site.broker(Path(folder), "everysec") as broker_url,
        site.store(Path(folder)) as cache_url,
        site.api(most | {"API_PORT": str(port), "BROKER_URL": broker_url, "CACHE_URL": cache_url}) as (api, master),
        edge.before([port], limitless) as front,
    ):
        jobs = [_submitted(api, number) for number in range(options.jobs)]
        return asyncio.run(_held(api, master, front, jobs, options))


async def _held(
    api: Site, master: subprocess.Popen[bytes], front: Edge, jobs: Sequence[str], options: argparse.Namespace
) -> Told:
    told = Told(options.streams, empty_mib=_resident_mib(master.pid))
    began = time.monotonic()
    followers = Followers(front.https_port, front.tls(), jobs, options.streams)
    await followers.begun(_PATIENCE_S)
    told.opened_s = time.monotonic() - began
    await _idle(told, api, master, jobs, options.idle_s)
    told.nginx_mib = _resident_mib(front.process.pid)
    began = time.monotonic()
    ending = asyncio.create_task(asyncio.to_thread(_cancel, api, jobs))
    while not ending.done():
        await asyncio.sleep(0.5)
        told.most_mib = max(told.most_mib, _resident_mib(master.pid))
    await ending
    await followers.over(_PATIENCE_S)
    told.ended_s = time.monotonic() - began
    for name, value in asdict(followers.counts).items():
        setattr(told, name, value)
    return told


async def _idle(told: Told, api: Site, master: subprocess.Popen[bytes], jobs: Sequence[str], seconds: float) -> None:
    """So long nothing happens but heartbeats, and now and then a request like any other."""
    worked_s, began = _cpu_s(master.pid), time.monotonic()
    while time.monotonic() - began < seconds:
        asked = time.monotonic()
        await asyncio.to_thread(api.ask, "GET", f"/api/jobs/{jobs[0]}")
        told.asked_ms.append(1000 * (time.monotonic() - asked))
        await asyncio.sleep(1)
    told.cpu_share = (_cpu_s(master.pid) - worked_s) / (time.monotonic() - began)
    told.idle_mib = told.most_mib = _resident_mib(master.pid)


def _submitted(api: Site, number: int) -> str:
    body: dict[str, Any] = {"input_text": f"Question {number}?", "membranes": ["grammar"]}
    return str(api.ask("POST", "/api/jobs", body, wait_s=0)["job_id"])


def _cancel(api: Site, jobs: Sequence[str]) -> None:
    for job_id in jobs:
        api.ask("DELETE", f"/api/jobs/{job_id}")


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _resident_mib(pid: int) -> float:
    return sum(process.memory_info().rss for process in _family(pid)) / MIB


def _cpu_s(pid: int) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in _family(pid))


def _print(told: Told, options: argparse.Namespace) -> None:
    each_kib = 1024 * (told.idle_mib - told.empty_mib) / told.streams
    print(f"{told.streams} streams of {options.jobs} jobs, by TLS through nginx, on one API process; {described()}")
    print(f"  {told.begun} begun within {told.opened_s:.1f} s, {told.faults} failed {told.last_fault}")
    print(
        f"  idle: {told.idle_mib:.0f} MiB of the API's ({each_kib:.1f} KiB a stream), {told.nginx_mib:.0f} of nginx's,"
    )
    usual_ms, most_ms = median(told.asked_ms), max(told.asked_ms)
    print(
        f"  {told.cpu_share:.2f} of a core; a request meanwhile took {usual_ms:.0f} ms (median), {most_ms:.0f} at most"
    )
    print(f"  {told.heartbeats} heartbeats; {told.ended} saw their job's end, all within {told.ended_s:.1f} s;")
    print(f"  {told.most_mib:.0f} MiB of the API's at most")


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=1000, help="that they follow")
    parser.add_argument("--idle-s", type=float, default=30, help="seconds in which nothing happens")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was seen")
    return parser.parse_args(arguments)
