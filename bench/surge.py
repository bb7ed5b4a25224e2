"""`python -m bench surge`: a real farm under ten times its load for two minutes: how it grows, and shrinks again."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench import site
from bench.machine import described
from bench.site import Site

EVERY_S = 0.25
AT_A_TIME = 500
"""Jobs that may be under way; the load is open, so that a farm that is too small is not spared."""


@dataclass
class Told:
    """What was seen of the farm: moments since the surge began, with the workers that serve and those wanted."""

    seen: list[tuple[float, int, int]] = field(default_factory=list)
    killed_at: float | None = None

    @property
    def most_wanted(self) -> int:
        return max(wanted for _, _, wanted in self.seen)

    def first(self, serving: int, after: float = 0.0) -> float | None:
        """When at least so many served, first."""
        return next((at for at, serves, _ in self.seen if at >= after and serves >= serving), None)

    def back(self, least: int, after: float) -> float | None:
        """When only so many served again, and no more were wanted."""
        return next((at for at, serves, wanted in self.seen if at >= after and serves == wanted == least), None)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print what came of it."""
    options = _options(arguments)
    settings = {
        "AUTO_SCALING_ENABLED": "true",
        "HEALTH_CHECK_INTERVAL": str(options.interval_s),
        "MAX_INSTANCES": str(options.most),
        "ECHO_SLOTS": str(options.slots),
        "ECHO_THREADS": "1",
    }
    print(
        f"{options.rate:g} jobs/s, ten times that for {options.surge_s:g} s; 1 to {options.most} workers of "
        f"{options.slots} slots, an interval of {options.interval_s} s; {described()}"
    )
    for is_killed in (False, True):
        with tempfile.TemporaryDirectory() as folder, site.farm(Path(folder), settings | _many(Path(folder))) as farm:
            told, jobs = _surge(farm, options, Path(folder), is_killed=is_killed)
        _print(told, jobs, options)


def _many(folder: Path) -> dict[str, str]:
    """Settings by which the farm takes this machine for as many as there are workers: each has one of its own."""
    (folder / "sitecustomize.py").write_text("import os\nos.sched_getaffinity = lambda pid: set(range(1024))\n")
    return {"PYTHONPATH": f"{folder}{os.pathsep}{site.ROOT}"}


def _surge(
    farm: Site, options: argparse.Namespace, folder: Path, *, is_killed: bool
) -> tuple[Told, list[dict[str, Any]]]:
    told, jobs = Told(), []
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        jobs += _load(pool, farm, options.rate, options.before_s)
        began = time.monotonic()
        with _watched(farm, told, began):
            if is_killed:
                threading.Timer(options.surge_s / 2, lambda: _kill_controller(folder, told, began)).start()
            jobs += _load(pool, farm, 10 * options.rate, options.surge_s)
            over = time.monotonic() - began
            while told.back(1, over) is None and time.monotonic() - began < over + options.patience_s:
                jobs += _load(pool, farm, options.rate, 1 / options.rate)
        return told, [job.result() for job in jobs]


def _load(pool: ThreadPoolExecutor, farm: Site, rate: float, seconds: float) -> list[Future[dict[str, Any]]]:
    """Jobs at even distances, whatever becomes of them."""
    began = time.monotonic()
    jobs = []
    for number in range(round(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        body = {"input_text": f"What is {number} plus one?", "options": {"max_tokens": 48}, "cache": False}
        jobs.append(pool.submit(farm.job, body))
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    return jobs


@contextmanager
def _watched(farm: Site, told: Told, began: float) -> Iterator[None]:
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(EVERY_S):
            service = farm.ask("GET", "/api/services/cognitive-service/instances")
            events = farm.ask("GET", "/api/scaling/cognitive-service/events?limit=1")["events"]
            serving = sum(instance["status"] == "healthy" for instance in service["instances"])
            wanted = events[0]["desired"] if events else serving
            told.seen.append((time.monotonic() - began, serving, wanted))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield
    is_over.set()
    watcher.join()


def _kill_controller(folder: Path, told: Told, began: float) -> None:
    """SIGKILL of the farm's controller; its keeper starts another."""
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("ECHO_VAR") == str(folder / "var")
            if is_ours and process.cmdline()[1:] == ["-m", "autoscale"]:
                process.kill()
                told.killed_at = time.monotonic() - began
        except psutil.Error:
            continue


def _print(told: Told, jobs: Sequence[dict[str, Any]], options: argparse.Namespace) -> None:
    most = told.most_wanted
    ordered = next((at for at, _, wanted in told.seen if wanted == most), None)
    reached = told.first(most)
    lost = sum(job["status"] != "succeeded" for job in jobs)
    again = sum(job["attempts"] > 1 for job in jobs)
    waits = sorted(job["result"]["processing_time_ms"] for job in jobs if job["result"])
    print(f"\n{'controller killed after ' + _seconds(told.killed_at) if told.killed_at else 'left alone'}:")
    print(f"  {len(jobs)} jobs, {lost} without an answer, {again} begun more than once")
    print(f"  {most} workers wanted after {_seconds(ordered)}, serving after {_seconds(reached)}")
    print(f"  one worker again {_seconds(told.back(1, options.surge_s))} after the surge's begin")
    print(f"  a job took {waits[len(waits) // 2]:.0f} ms (p50), {waits[int(0.99 * len(waits))]:.0f} ms (p99)")
    if options.json:
        with options.json.open("a") as file:
            file.write(
                json.dumps({"seen": told.seen, "killed_at": told.killed_at, "lost": lost, "again": again}) + "\n"
            )


def _seconds(moment: float | None) -> str:
    return "never" if moment is None else f"{moment:.1f} s"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench surge", description=__doc__)
    parser.add_argument("--rate", type=float, default=0.5, help="jobs a second, before and after")
    parser.add_argument("--before-s", type=float, default=20)
    parser.add_argument("--surge-s", type=float, default=120)
    parser.add_argument("--patience-s", type=float, default=300, help="how long the farm has to shrink")
    parser.add_argument("--interval-s", type=int, default=5, help="the farm's HEALTH_CHECK_INTERVAL")
    parser.add_argument("--most", type=int, default=4, help="its MAX_INSTANCES")
    parser.add_argument("--slots", type=int, default=2, help="of each worker")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append what was seen, a line a run")
    return parser.parse_args(arguments)
