"""`python -m bench engine`: how fast the engine decodes and prefills, beside its peers, in one run and by turns."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bench import untrained
from bench.ceilings import Machine
from bench.contenders import Apart, Contender, Load, llama
from bench.contenders.echo import Echo
from bench.contenders.llama import Llama
from bench.contenders.package import Package
from bench.machine import described
from workers import checkpoint

SHAPES = {"tiny": (2, 128), "0.1B": (12, 768), "0.4B": (24, 1024), "1.5B": (24, 2048)}
"""Layers and width of the official models, and of one for a quick try."""

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
VOCABULARY = 65536
_PACKAGE = "rwkv package"

STREAMS = 16
"""How many sequences generate while a prompt is read beside them."""


@dataclass(slots=True)
class Row:
    """One load on one engine, measured once a round; `decoded` is how many sequences generate, if any do."""

    name: str
    load: str
    measure: Callable[[], float]
    decoded: int | None = None
    tokens_per_s: list[float] = field(default_factory=list)

    def ratio(self, others: Iterable[float]) -> float:
        """To what was measured in the same rounds: the machine's speed changes from one to the next."""
        return statistics.median(own / other for own, other in zip(self.tokens_per_s, others, strict=True))


@dataclass(frozen=True, slots=True)
class Gaps:
    """Seconds between the tokens of running streams: alone, and beside a prompt that is read."""

    alone_s: list[float]
    beside_s: list[float]

    @property
    def median_alone_s(self) -> float:
        return statistics.median(self.alone_s)

    @property
    def stall_ratio(self) -> float:
        """The 99th percentile beside the prompt to the median alone."""
        return statistics.quantiles(self.beside_s, n=100, method="inclusive")[-1] / self.median_alone_s


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        path = Path(folder) / f"rwkv7-{options.shape}.pth"
        layers, width = SHAPES[options.shape]
        torch.save(untrained.weights(layers=layers, width=width, vocabulary=VOCABULARY), path)

        def apart(make: Callable[[Load], Contender]) -> Apart:
            contender = Apart(make, Load(path, options.dtype, max(*options.rows, STREAMS + 1)))
            running.callback(contender.close)
            return contender

        contenders = {"echo": apart(Echo)}
        if llama.is_installed():
            contenders["llama.cpp"] = apart(Llama)
        rows = _rows(contenders, apart(Package), options)
        machine, gaps = Machine(checkpoint.load(path), _DTYPES[options.dtype]), []
        for row in rows:  # what is compiled, and what memory is taken, at the first time
            row.measure()
        for _ in range(options.repeats):
            machine.measure()
            for row in rows:
                row.tokens_per_s.append(row.measure())
            gaps.append(Gaps(*contenders["echo"].ask("gaps", STREAMS, options.beside)))
    _print(rows, machine, options)
    _print_gaps(gaps, options.beside)
    if options.json:
        table = [{"engine": row.name, "load": row.load, "tokens_per_s": row.tokens_per_s} for row in rows]
        streams = [{"alone_s": gap.alone_s, "beside_s": gap.beside_s} for gap in gaps]
        options.json.write_text(json.dumps({"title": _title(options), "rows": table, "gaps": streams}, indent=1))


def _rows(several: Mapping[str, Apart], package: Apart, options: argparse.Namespace) -> list[Row]:
    rows = [
        Row(name, _decode(count), lambda c=contender, n=count: c.decode(n, options.tokens), count)  # type: ignore[misc]
        for count in options.rows
        for name, contender in several.items()
    ]
    rows.append(Row(_PACKAGE, _decode(1), lambda: package.decode(1, options.tokens), 1))
    rows += [
        Row(name, f"prefill, {count} tokens", lambda c=contender, n=count: c.prefill(n))  # type: ignore[misc]
        for count in options.prompts
        for name, contender in {**several, _PACKAGE: package}.items()
    ]
    return rows


def _decode(rows: int) -> str:
    return f"decode, {rows} row{'s' if rows > 1 else ''}"


def _print(rows: Sequence[Row], machine: Machine, options: argparse.Namespace) -> None:
    package = {row.load: row.tokens_per_s for row in rows if row.name == _PACKAGE}
    print(_title(options))
    print(machine.described)
    print(f"{'':14} {'load':22} {'tokens/s':>9} {'least':>8} {'most':>8} {'of ceiling':>10} {'x package':>9}")
    for row in rows:
        share = f"{row.ratio(machine.tokens_per_s(row.decoded)):10.0%}" if row.decoded else f"{'':10}"
        median, low, high = statistics.median(row.tokens_per_s), min(row.tokens_per_s), max(row.tokens_per_s)
        same = row.ratio(package.get(row.load) or package[_decode(1)])
        print(f"{row.name:14} {row.load:22} {median:9.0f} {low:8.0f} {high:8.0f} {share} {same:9.1f}")


def _print_gaps(gaps: Sequence[Gaps], beside_tokens: int) -> None:
    alone = 1000 * statistics.median(gap.median_alone_s for gap in gaps)
    ratios = sorted(gap.stall_ratio for gap in gaps)
    print(
        f"{STREAMS} streams while {beside_tokens} tokens of another prompt are read: 99th percentile between tokens is "
        f"{statistics.median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f}) "
        f"the undisturbed median of {alone:.1f} ms"
    )


def _title(options: argparse.Namespace) -> str:
    return f"{options.shape}, {options.dtype}, greedy, medians of {options.repeats} rounds; {described()}"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench engine", description=__doc__)
    parser.add_argument("--shape", choices=[*SHAPES], default="0.1B")
    parser.add_argument("--dtype", choices=[*_DTYPES], default="bf16")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32, 64], help="sequences at a time")
    parser.add_argument("--prompts", type=int, nargs="+", default=[512], help="tokens of the prompts")
    parser.add_argument("--tokens", type=int, default=48, help="tokens to generate")
    parser.add_argument("--beside", type=int, default=2000, help="tokens of the prompt that is read beside streams")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)
