"""promtool, which comes with Prometheus: apt-get install prometheus."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needed = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (apt: prometheus)")


def promtool(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What it says, and its exit status."""
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100)
