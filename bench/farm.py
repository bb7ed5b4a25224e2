"""`python -m bench farm`: jobs through HTTP, beside the engine by itself and a plain Celery worker, by turns."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench import crowd, site, untrained
from bench.contenders import Apart, Load, prefork
from bench.contenders.echo import Echo
from bench.contenders.errand import MEMBRANE, Errand
from bench.crowd import Measured
from bench.engine import SHAPES, VOCABULARY
from bench.machine import described
from echo_tasks import machine


@dataclass(slots=True)
class Row:
    """One way to do the jobs, measured several times."""

    name: str
    clients: int
    measure: Callable[[], Measured]
    measured: list[Measured] = field(default_factory=list)

    @property
    def tokens_per_s(self) -> list[float]:
        return [measured.tokens_per_s for measured in self.measured]

    @property
    def job_s(self) -> list[float]:
        return [took for measured in self.measured for took in measured.job_s]


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    options = _options(arguments)
    layers, width = SHAPES[options.shape]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        path = Path(folder) / f"rwkv7-{options.shape}.pth"
        torch.save(untrained.weights(layers=layers, width=width, vocabulary=VOCABULARY), path)
        rows = _rows(path, options, running)
        for row in rows:  # what is compiled, and what memory is taken, at the first time
            row.measure()
        for _ in range(options.repeats):
            for row in rows:
                row.measured.append(row.measure())
    _print(rows, options)


def _rows(path: Path, options: argparse.Namespace, running: ExitStack) -> list[Row]:
    settings = {"ECHO_MODEL": str(path), "ECHO_DTYPE": options.dtype, "ECHO_SLOTS": str(options.clients)}
    farm = running.enter_context(site.farm(path.parent, settings))
    engine = Apart(Echo, Load(path, options.dtype, options.clients))
    running.callback(engine.close)
    processes = machine.cores()
    celery = running.enter_context(_celery(farm.broker_url, path, options.dtype, processes))

    def through_http(number: int) -> int:
        sampling = {"max_tokens": options.tokens}
        body = {"input_text": Errand(number).text, "membranes": [MEMBRANE], "options": sampling, "cache": False}
        return int(farm.job(body)["result"]["usage"]["completion_tokens"])

    def through_celery(number: int) -> int:
        errand, tokens = Errand(number), int(options.peer_tokens)
        said = celery.delay(errand.first, tokens).get(timeout=600)
        celery.delay(errand.second(said), tokens).get(timeout=600)
        return 2 * tokens

    clients, rounds = options.clients, options.rounds
    return [
        Row("farm, over HTTP", clients, lambda: crowd.closed(clients, rounds, through_http)),
        Row("engine alone", clients, lambda: engine.ask("jobs", clients, rounds, options.tokens)),
        Row("decode alone", clients, lambda: Measured(engine.decode(clients, options.tokens))),
        Row("Celery prefork", 2 * processes, lambda: crowd.closed(2 * processes, 1, through_celery)),
    ]


@contextmanager
def _celery(broker: str, path: Path, dtype: str, processes: int) -> Iterator[Any]:
    """The task of a plain Celery worker that has as many processes as there are cores."""
    settings = {
        prefork.BROKER: f"{broker}/1",
        prefork.CHECKPOINT: str(path.with_suffix("")),
        prefork.DTYPE: dtype,
        prefork.THREADS: "1",
    }
    command = [sys.executable, *"-m celery -A bench.contenders.prefork worker -P prefork -c".split(), str(processes)]
    with (path.parent / "celery.log").open("w") as log:
        worker = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log)  # noqa: S603 - our own
        prefork.app.conf.update(broker_url=settings[prefork.BROKER], result_backend=settings[prefork.BROKER])
        try:
            yield prefork.generate
        finally:
            worker.terminate()
            worker.wait()


def _print(rows: Sequence[Row], options: argparse.Namespace) -> None:
    title = (
        f"{options.shape}, {options.dtype}, one membrane and integration a job, up to {options.tokens} tokens each, "
        f"median of {options.repeats}; {described()}"
    )
    print(title)
    print(f"{'':18} {'clients':>8} {'tokens/s':>9} {'least':>8} {'most':>8} {'farm is':>8} {'a job, s':>9}")
    farm = statistics.median(rows[0].tokens_per_s)
    for row in rows:
        rates = row.tokens_per_s
        median = statistics.median(rates)
        job_s = f"{statistics.median(row.job_s):9.2f}" if row.job_s else ""
        spread = f"{min(rates):8.0f} {max(rates):8.0f}"
        print(f"{row.name:18} {row.clients:8} {median:9.0f} {spread} {farm / median:7.2f}x {job_s}")
    if options.json:
        table = [
            {"contender": row.name, "clients": row.clients, "tokens_per_s": row.tokens_per_s, "job_s": row.job_s}
            for row in rows
        ]
        options.json.write_text(json.dumps({"title": title, "rows": table}, indent=1))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench farm", description=__doc__)
    parser.add_argument("--shape", choices=[*SHAPES], default="0.1B")
    parser.add_argument("--dtype", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--clients", type=int, default=64, help="jobs at a time, and slots of the worker")
    parser.add_argument("--rounds", type=int, default=1, help="jobs of each client, one after the other")
    parser.add_argument("--tokens", type=int, default=256, help="tokens that each step of a job generates")
    parser.add_argument("--peer-tokens", type=int, default=256, help="the same for the plain Celery worker")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)
