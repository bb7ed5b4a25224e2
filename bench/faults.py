"""`python -m bench faults`: what becomes of jobs while processes are killed and connections lost; see tests/faults."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from bench.site import ROOT


def main(arguments: Sequence[str]) -> None:
    """Run the fault suite's own program, which lies with the tests; ends with its status."""
    program = ROOT / "tests" / "faults"
    if not program.exists():
        sys.exit(f"the fault suite is not part of an installation: {program} is missing")
    paths = [str(ROOT / "tests"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    sys.exit(subprocess.run([sys.executable, str(program), *arguments], env=env).returncode)  # noqa: S603 - our own
