"""`python -m bench versions`: this farm beside another checkout's, or beside itself with other settings, by turns."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import crowd, sink, site
from bench.crowd import Measured
from bench.machine import described
from bench.scraping import scraped
from bench.site import ROOT, Site

CLIENTS = (1, 16)
"""One at a time, for the time that a job takes; and so many that the farm is busy, for the jobs a second."""


BLIND = ROOT / "bench" / "blind"
"""Where Python finds, before all else, that instruments do nothing."""


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    options = _options(arguments)
    measured: dict[int, list[tuple[Measured, Measured]]] = {clients: [] for clients in CLIENTS}
    received: list[int] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        common = {"ECHO_SLOTS": str(max(CLIENTS))}
        traced = _traced(running, received) if options.traces else {}
        ours = running.enter_context(site.farm(Path(folder) / "this", common | traced | _settings(options.set)))
        other = running.enter_context(
            site.farm(Path(folder) / "other", common | _settings_of_other(options), options.other)
        )
        if options.blind:
            running.enter_context(scraped(ours))
        pair = (ours, other)
        for farm in pair:
            _ask(farm, max(CLIENTS), 2, options.tokens)
        for number in range(options.rounds):
            for clients in CLIENTS:
                in_turn = pair if number % 2 else pair[::-1]
                found = {farm: _ask(farm, clients, options.jobs // clients, options.tokens) for farm in in_turn}
                measured[clients].append((found[ours], found[other]))
    _print(measured, options)
    if options.traces:
        print(f"traces: {len(received)} batches, {sum(received) / 1e6:.1f} MB, were taken")


def _traced(running: ExitStack, received: list[int]) -> dict[str, str]:
    """Settings by which traces are sent to an endpoint of ours, which notes how many bytes each batch has."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": running.enter_context(sink.listening(lambda body: received.append(len(body))))
    }


def _ask(farm: Site, clients: int, rounds: int, tokens: int) -> Measured:
    body = {
        "input_text": "What is two plus three?",
        "options": {"max_tokens": tokens, "temperature": 0},
        "cache": False,
    }

    def ask(_: int) -> int:
        return int(farm.job(body)["result"]["usage"]["completion_tokens"])

    return crowd.closed(clients, rounds, ask)


def _print(measured: Mapping[int, Sequence[tuple[Measured, Measured]]], options: argparse.Namespace) -> None:
    print(
        f"echo-mini, three membranes and integration a job, up to {options.tokens} tokens each, {options.jobs} jobs "
        f"a round, {options.rounds} rounds by turns; {described()}"
    )
    print(f"other: {options.other}, {' '.join(options.other_set) or 'no settings'}{', blind' if options.blind else ''}")
    print(f"{'clients':>7} {'':12} {'this':>8} {'other':>8} {'this/other':>10} {'least':>6} {'most':>6}")
    for clients, pairs in measured.items():
        for name, figure in (("jobs/s", _jobs_per_s), ("job, ms (p50)", _job_ms)):
            ours, other = ([figure(of[place]) for of in pairs] for place in (0, 1))
            ratios = [a / b for a, b in zip(ours, other, strict=True)]
            medians = (
                f"{statistics.median(ours):8.1f} {statistics.median(other):8.1f} {statistics.median(ratios):10.3f}"
            )
            print(f"{clients:7} {name:13}{medians} {min(ratios):6.3f} {max(ratios):6.3f}")
    if options.json:
        found = {clients: [[list(of.job_s) for of in pair] for pair in pairs] for clients, pairs in measured.items()}
        options.json.write_text(json.dumps(found))


def _jobs_per_s(measured: Measured) -> float:
    return len(measured.job_s) / measured.seconds


def _job_ms(measured: Measured) -> float:
    return 1000 * statistics.median(measured.job_s)


def _settings(pairs: Sequence[str]) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in pairs)


def _settings_of_other(options: argparse.Namespace) -> dict[str, str]:
    blind = {"PYTHONPATH": os.pathsep.join([str(BLIND), str(options.other)])} if options.blind else {}
    return _settings(options.other_set) | blind


def _setting(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return text


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench versions", description=__doc__)
    parser.add_argument("--other", type=Path, default=ROOT, metavar="CHECKOUT", help="its code; this one's by default")
    parser.add_argument(
        "--set", nargs="*", type=_setting, default=[], metavar="NAME=VALUE", help="this farm's settings"
    )
    parser.add_argument("--other-set", nargs="*", type=_setting, default=[], metavar="NAME=VALUE")
    parser.add_argument("--traces", action="store_true", help="this farm sends traces, to an endpoint of ours")
    parser.add_argument(
        "--blind", action="store_true", help="the other one counts nothing, this one does and is scraped: metrics' cost"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=96, help="in each round")
    parser.add_argument("--tokens", type=int, default=16, help="tokens that each step of a job generates at most")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)
