"""What a benchmark ran on, in a line."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path

import torch


def described() -> str:
    """The date, the processor, how many of its cores are ours, and the versions that matter."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    processor = next(names, platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{date.today()}, {cores} cores of {processor}, Python {platform.python_version()}, torch {torch.__version__}"
    )
