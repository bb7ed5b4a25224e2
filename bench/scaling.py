"""`python -m bench scaling`: our decision about the farm's size beside the known ones, on real and generated loads."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from autoscale.decision import Policy
from bench.machine import described
from bench.simulation import loads
from bench.simulation.loads import Load
from bench.simulation.matching import TOLERANCE, Dial, Match, dialled
from bench.simulation.ours import Echo
from bench.simulation.peers import CeleryAutoscaler, Hpa, Keda, PlusMinusOne, RayServe
from bench.simulation.play import SLO_S, TICK_S, Outcome, Scaler, play
from bench.simulation.plot import draw, is_installed
from bench.simulation.service import ON_TWO_CORES, Service

FILL = 0.7
SHARES = (0.5, 0.8)
"""Of what one worker does, the loads of a farm that shares its cores."""

LEVELS = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
WORSE = 1.05
"""What is not lower may be so much higher, on one load of five."""

PEERS: Sequence[Callable[[int, int, Service], Scaler]] = (
    lambda least, most, _: Hpa(least, most),
    lambda least, most, _: Keda(least, most),
    lambda least, most, service: RayServe(least, most, service.slots),
    lambda least, most, service: CeleryAutoscaler(least, most, service.slots),
    lambda least, most, _: PlusMinusOne(least, most),
)


def main(arguments: Sequence[str]) -> None:
    """Play, and print the tables and the verdicts."""
    parser = argparse.ArgumentParser(prog="python -m bench scaling", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="LOAD", help="loads, by their names")
    parser.add_argument("--most", type=int, default=10, help="workers, at most")
    parser.add_argument("--slots", type=int, default=Service().slots, help="of a worker")
    parser.add_argument("--startup-s", type=float, default=Service().startup_s, help="of a worker, until it serves")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--burst-jobs", type=int, default=20_000, help="jobs of the generated bursts")
    parser.add_argument("--days", type=float, default=1.0, help="simulated, of each constant load; 0 leaves them out")
    parser.add_argument("--shared-hours", type=float, default=1.0, help="simulated, on shared cores; 0 leaves them out")
    parser.add_argument("--plot", type=Path, help="draw each load there, a PNG each: PLOT-LOAD.png")
    parser.add_argument("--json", type=Path, help="write what was measured there, too")
    options = parser.parse_args(arguments)
    if options.plot and not is_installed():
        parser.error("--plot needs matplotlib: pip install -e '.[bench]'")
    service = Service(slots=options.slots, startup_s=options.startup_s)
    bench = Bench(service, options.most)
    print(f"{described()}\n{bench.described}\n")
    rows = []
    for load in at_hand(service, options.seed, options.burst_jobs):
        if not options.only or load.name in options.only:
            rows += bench.compare(load.filling(FILL, options.most, service), options.plot)
    print(verdicts(rows))
    levels = bench.constant(options.days, options.seed) if options.days else ()
    together = bench.together(options.shared_hours, options.seed) if options.shared_hours else ()
    if options.json:
        measured = {"rows": [row.measured for row in rows], "constant": list(levels), "shared": list(together)}
        options.json.write_text(json.dumps(measured))


def at_hand(service: Service, seed: int, burst_jobs: int = 20_000) -> list[Load]:
    """The traces, where they are at hand, and a generated burst."""
    rng = partial(np.random.default_rng, seed)
    found = [loads.bursts(rng(), burst_jobs)]
    if not loads.TRACES.exists():
        print(f"no {loads.TRACES}: the generated load alone\n")
        return found
    return [
        loads.azure(loads.TRACES / "azure-llm-2023-conv.csv", service),
        loads.mooncake(loads.TRACES / "mooncake-synthetic.jsonl", service),
        loads.servegen(loads.TRACES / "servegen-m-large-14d.csv", rng()),
        loads.taxi(loads.TRACES / "nab-nyc-taxi.csv", rng()),
        *found,
    ]


@dataclass(frozen=True, slots=True)
class Row:
    """A peer under a load, and our decision at its price."""

    load: str
    peer: str
    theirs: Outcome
    ours: Match

    @property
    def is_matched(self) -> bool:
        return abs(self.ours.error) <= TOLERANCE

    @property
    def pairs(self) -> Sequence[tuple[float, float]]:
        """What is judged, ours and theirs."""
        return (self.ours.outcome.p99_s, self.theirs.p99_s), (self.ours.outcome.unmet, self.theirs.unmet)

    @property
    def is_lower(self) -> bool:
        """Both are lower, where the peer leaves room for it: no wait is below none."""
        return self.is_matched and all(ours < theirs or ours == theirs == 0 for ours, theirs in self.pairs)

    @property
    def is_tie(self) -> bool:
        """Nobody waits at the 99th percentile, here or there."""
        return self.pairs[0] == (0, 0)

    @property
    def is_near(self) -> bool:
        return self.is_matched and all(ours <= WORSE * theirs for ours, theirs in self.pairs)

    @property
    def measured(self) -> Mapping[str, object]:
        return {
            "load": self.load,
            "peer": self.peer,
            "target": self.ours.target,
            "error": self.ours.error,
            "theirs": _figures(self.theirs),
            "ours": _figures(self.ours.outcome),
            "lower": self.is_lower,
            "near": self.is_near,
        }


class Bench:
    """A farm of workers of one kind, within bounds."""

    def __init__(self, service: Service, most: int, least: int = 1) -> None:
        self._service, self._least, self._most = service, least, most

    @property
    def described(self) -> str:
        service = self._service
        return (
            f"{self._least} to {self._most} workers of {service.slots} slots, {service.full_tokens_per_s:.0f} tokens/s "
            f"with all of them, {service.startup_s:g} s to start, seen every {TICK_S:g} s; the heaviest five minutes "
            f"of each load take {FILL:.0%} of all; the objective is to begin within {SLO_S:g} s"
        )

    def compare(self, load: Load, plot: Path | None) -> list[Row]:
        """Each peer, and our decision at its price; prints as it goes."""
        print(f"\n**{load.name}**: {len(load.at)} jobs in {load.span_s / 3600:.1f} h\n\n{HEADER}")
        print(_line("ours, as by default", self._ours(load, Policy(least=self._least, most=self._most))))
        dial = Dial(lambda target: self._ours(load, dialled(target, self._least, self._most)))
        rows = []
        for peer in PEERS:
            scaler = peer(self._least, self._most, self._service)
            theirs = play(load, self._service, scaler)
            row = Row(load.name, scaler.name, theirs, dial.matching(theirs.worker_s))
            print(_line(scaler.name, theirs))
            print(_line(f"ours at its price, target {row.ours.target:.3f}", row.ours.outcome), flush=True)
            rows.append(row)
        if plot:
            pairs = [(row.peer, row.theirs, row.ours.outcome) for row in rows]
            draw(plot.with_name(f"{plot.stem}-{load.name}.png"), load, pairs)
        return rows

    def _ours(self, load: Load, policy: Policy) -> Outcome:
        return play(load, self._service, Echo(replace(policy, startup_s=self._service.startup_s)))

    def constant(self, days: float, seed: int) -> Sequence[Mapping[str, float]]:
        """Constant loads, at shares of what all workers can do, as the policy is by default."""
        print(f"\nConstant loads, {days:g} simulated days each, as by default:\n\n{HEADER}")
        measured = []
        for level in LEVELS:
            load = constant(level, self._most, self._service, days * 86_400.0, seed)
            outcome = self._ours(load, Policy(least=self._least, most=self._most))
            print(_line(f"{level:.0%}", outcome), flush=True)
            measured.append({"level": level, **_figures(outcome)})
        reversals = sum(int(row["reversals"]) for row in measured)
        print(f"\n{reversals or 'no'} reversal{'s' * (reversals > 1)} at constant load")
        return measured

    def together(self, hours: float, seed: int) -> Sequence[Mapping[str, object]]:
        """Loads that one worker carries, on a machine whose cores all workers share, with ours and the peers."""
        service = replace(self._service, together=tuple(ON_TWO_CORES.items()))
        measured = []
        for share in SHARES:
            per_s = share * service.full_tokens_per_s / loads.MEAN_TOKENS
            load = loads.poisson(np.random.default_rng(seed), per_s, 3600 * hours)
            print(f"\nWorkers that share two cores, {share:.0%} of what one of them does, {hours:g} h:\n\n{HEADER}")
            policy = Policy(least=self._least, most=self._most, startup_s=service.startup_s)
            scalers = [Echo(policy), *(peer(self._least, self._most, service) for peer in PEERS)]
            for scaler in scalers:
                outcome = play(load, service, scaler)
                print(_line(scaler.name, outcome), flush=True)
                measured.append({"share": share, "scaler": scaler.name, **_figures(outcome)})
        return measured


HEADER = """| | wait p50, s | p99, s | unmet | goodput | worker-s | changes | reversals | killed busy | to capacity, s |
|---|---|---|---|---|---|---|---|---|---|"""


def _line(name: str, outcome: Outcome) -> str:
    return (
        f"| {name} | {outcome.p50_s:.2f} | {outcome.p99_s:.2f} | {outcome.unmet:.2%} | {outcome.goodput:.2%} "
        f"| {outcome.worker_s:.0f} | {outcome.changes} | {outcome.reversals} | {outcome.killed} "
        f"| {outcome.to_capacity_s:.0f} |"
    )


def _figures(outcome: Outcome) -> Mapping[str, float]:
    names = ("p50_s", "p99_s", "unmet", "goodput", "worker_s", "changes", "reversals", "killed", "to_capacity_s")
    return {name: getattr(outcome, name) for name in names}


VERDICTS = """
| beside | loads | both lower | of these, nobody waits at p99 | the rest within 5 % | price within 2 % | verdict |
|---|---|---|---|---|---|---|"""


def verdicts(rows: Sequence[Row]) -> str:
    """For each peer: on how many loads both figures are lower at its price, and whether the rest is near."""
    lines = [VERDICTS]
    for peer in dict.fromkeys(row.peer for row in rows):
        of = [row for row in rows if row.peer == peer]
        lower = sum(row.is_lower for row in of)
        ties = sum(row.is_lower and row.is_tie for row in of)
        near = all(row.is_lower or row.is_near for row in of)
        matched = sum(row.is_matched for row in of)
        verdict = "better" if near and lower >= len(of) - 1 else "not better"
        lines.append(f"| {peer} | {len(of)} | {lower} | {ties} | {'yes' if near else 'no'} | {matched} | {verdict} |")
    return "\n".join(lines)


def constant(level: float, workers: int, service: Service, span_s: float, seed: int, tokens: float = 4_000.0) -> Load:
    """Poisson arrivals of long jobs that take this share of what so many workers can do."""
    per_s = level * workers * service.full_tokens_per_s / tokens
    return loads.poisson(np.random.default_rng(seed), per_s, span_s, tokens)
