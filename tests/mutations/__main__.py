"""`python -m mutations`: tries the mutations of the list on a copy of a checkout, and prints which are noticed."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mutations import listing
from mutations.listing import Mutation
from mutations.tree import Tree
from mutations.trial import Trial, Tried, Verdict


def main(arguments: Sequence[str]) -> int:
    """Print a line for each mutation and a table by area; status 1 unless every mutation was noticed."""
    options = _options(arguments)
    chosen = _chosen(listing.read(), options.area, options.only)
    if not chosen:
        raise SystemExit("no mutation of the list was chosen")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        folders = [Path(folder) / str(number) for number in range(options.processes)]
        trees = [Tree(options.at, one, options.python) for one in folders]
        tried = Trial(trees, lambda line: print(line, flush=True)).run(chosen)
    print(table(tried))
    print(f"{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps([_as_json(one) for one in tried], indent=1))
    return 0 if all(one.verdict is Verdict.NOTICED for one in tried) else 1


def table(tried: Sequence[Tried]) -> str:
    """Mutations tried, noticed, and their ratio, by area; the last line is the sum."""
    areas = list(dict.fromkeys(one.mutation.area for one in tried))
    rows = [(area, [one for one in tried if one.mutation.area == area]) for area in areas]
    lines = [f"{'area':14s} mutations  noticed  ratio"]
    for name, part in [*rows, ("all", list(tried))]:
        counted = [one for one in part if one.verdict is not Verdict.NOT_TRIED]
        noticed = sum(one.verdict is Verdict.NOTICED for one in counted)
        ratio = f"{noticed / len(counted):5.2f}" if counted else "    -"
        left = f"  ({len(part) - len(counted)} not tried)" if len(counted) < len(part) else ""
        lines.append(f"{name:14s} {len(counted):9d} {noticed:8d}  {ratio}{left}")
    return "\n".join(lines)


def _chosen(mutations: Sequence[Mutation], areas: Sequence[str] | None, only: Sequence[int] | None) -> list[Mutation]:
    known = {mutation.area for mutation in mutations}
    if unknown := set(areas or ()) - known:
        raise SystemExit(f"unknown area: {', '.join(sorted(unknown))}; areas: {', '.join(sorted(known))}")
    return [
        mutation
        for mutation in mutations
        if (not areas or mutation.area in areas) and (not only or mutation.number in only)
    ]


def _as_json(tried: Tried) -> dict[str, object]:
    mutation = asdict(tried.mutation)
    return mutation | {"verdict": tried.verdict, "by": tried.by, "seconds": round(tried.seconds, 1)}


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mutations", description=__doc__)
    parser.add_argument("--at", type=Path, default=listing.ROOT, metavar="CHECKOUT", help="checkout to copy")
    parser.add_argument("--area", action="append", metavar="AREA", help="only this area's mutations; may be repeated")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="only the mutations of these numbers")
    parser.add_argument("--processes", type=int, choices=[1, 2], default=1, help="mutations tried at once")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the results")
    parser.add_argument("--python", default=sys.executable, help="interpreter that runs the tests")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
