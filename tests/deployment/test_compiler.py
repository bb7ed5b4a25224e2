"""The workers' image for GPUs has the compiler that Triton looks for; the one for CPUs has none."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from processes import ROOT

STAGE = (ROOT / "docker" / "Dockerfile").read_text().split(" AS worker\n", 1)[1]


@pytest.mark.parametrize(("torch", "installs"), [("cuda", True), ("cpu", False)])
def test_a_compiler_comes_with_cuda_alone(tmp_path: Path, torch: str, installs: bool) -> None:
    """By the stage's own line, before anything that is installed into it."""
    (line,) = re.findall(r"^RUN (if \[ \"\$TORCH\".*?fi)$", STAGE.split("--mount", 1)[0], re.M | re.S)
    (tmp_path / "apt-get").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    (tmp_path / "rm").write_text("#!/bin/sh\n")  # this machine's lists stay
    for program in tmp_path.iterdir():
        program.chmod(0o755)
    subprocess.run(["sh", "-c", line], env={"PATH": f"{tmp_path}:/usr/bin:/bin", "TORCH": torch}, check=True)
    asked = (tmp_path / "asked").read_text() if installs else ""
    assert ("install -y --no-install-recommends gcc libc6-dev" in asked) is installs
    assert (tmp_path / "asked").exists() is installs
