"""`python -m bench fsync`: what it costs to have the broker's disk keep each job before the job is accepted."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from bench.machine import described
from bench.site import broker
from echo_tasks import connections
from echo_tasks.backlog import BacklogBounds
from echo_tasks.ledger import Ledger
from echo_tasks.messages import JobSpec

POLICIES = ("everysec", "always")
CLIENTS = (1, 16)

_TEXT = "What is two plus three? " * 10


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench fsync", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=1000, help="in each round")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured; a temporary one by default")
    parser.add_argument("--json", type=Path, help="write what was measured there, too")
    options = parser.parse_args(arguments)
    rates: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        ledgers = {policy: _ledger(running.enter_context(broker(folder / policy, policy))) for policy in POLICIES}
        for _ in range(options.rounds):
            for policy, ledger in ledgers.items():
                for clients in CLIENTS:
                    rates.setdefault((policy, clients), []).append(_per_second(ledger, options.jobs, clients))
    print(f"{described()}; medians of {options.rounds} rounds by turns (least to most)\n")
    print("| jobs accepted a second | one client | 16 clients |\n|---|---|---|")
    for policy in POLICIES:
        print(f"| {policy} | {' | '.join(_spread(rates[policy, clients]) for clients in CLIENTS)} |")
    if options.json:
        options.json.write_text(
            json.dumps({f"{policy} {clients}": per_s for (policy, clients), per_s in rates.items()})
        )


def _ledger(url: str) -> Ledger:
    bounds = BacklogBounds(jobs=10**9, per_membrane=10**9)
    return Ledger(connections.patient(url), retention_s=600, session_s=600, backlog=bounds)


def _per_second(ledger: Ledger, jobs: int, clients: int) -> float:
    """How many jobs a second so many threads write into the ledger. Blocks."""
    specs = [JobSpec(job_id=uuid.uuid4().hex, session_id=uuid.uuid4().hex, input_text=_TEXT) for _ in range(jobs)]
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(lambda spec: ledger.create(spec, names_session=False), specs))
    return jobs / (time.perf_counter() - began)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"
