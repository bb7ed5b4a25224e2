"""`python -m bench faults`: a farm under every fault for a minute each, and what came of its jobs."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from crowd import SCRIPTS
from fleet import fleet
from scenarios import LONG, SCENARIOS, Size, run, undisturbed
from verdict import Verdict, table

from bench.machine import described


def main(arguments: Sequence[str]) -> int:
    """Print the table; the status tells whether anything was lost, doubled or wrong."""
    options = _options(arguments)
    size = Size(options.spell_s, options.every_s, options.away_s, options.patience_s)
    print(
        f"{options.workers} workers, {len(SCRIPTS)} clients; faults for {size.spell_s:g} s, each {size.every_s:g} s, "
        f"something away for {size.away_s:g} s; visibility timeout {options.visibility_s:g} s; {described()}"
    )
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = {"ECHO_VISIBILITY_S": f"{options.visibility_s:g}"}
        with fleet(Path(folder), options.workers, settings) as farm:
            expected = undisturbed(farm, range(len(SCRIPTS)))
            for name in options.scenarios:
                verdicts.append(run(name, farm, size, expected))
                print(f"{name}: {len(verdicts[-1].problems)} problems", file=sys.stderr)
    print(table(verdicts))
    if options.json:
        options.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))
    return 1 if any(verdict.problems for verdict in verdicts) else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench faults", description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=[*SCENARIOS], default=[*SCENARIOS], metavar="NAME")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--spell-s", type=float, default=LONG.spell_s, help="how long faults go on")
    parser.add_argument("--every-s", type=float, default=LONG.every_s, help="between two of a kind")
    parser.add_argument("--away-s", type=float, default=LONG.away_s, help="how long something is away")
    parser.add_argument("--patience-s", type=float, default=LONG.patience_s, help="after which a job counts as lost")
    parser.add_argument("--visibility-s", type=float, default=15, help="the farm's ECHO_VISIBILITY_S")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
