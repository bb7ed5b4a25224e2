"""Who may import whom: the table holds, and is really enforced."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT

PACKAGES = ("echo_tasks", "echo_api", "workers", "cache", "autoscale", "monitoring", "training", "bench")


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command as c; c()"]
    env = {"PYTHONPATH": str(folder), "PATH": "", "COLUMNS": "200"}
    return subprocess.run([*command, "--no-cache"], cwd=folder, env=env, capture_output=True, text=True)


def test_the_table_holds() -> None:
    """The project keeps its own rules."""
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("echo_tasks/keys.py", "import workers.engine"),
        ("echo_tasks/keys.py", "import cache.tier"),
        ("cache/tier.py", "import echo_tasks.keys"),
        ("echo_api/views.py", "import torch"),
        ("echo_api/views.py", "from workers import tokenizer"),
        ("workers/steps.py", "def later():\n    import echo_api.jobs"),
        ("workers/scheduler.py", "import torch"),
        ("workers/model.py", "import training.model"),
        ("autoscale/decision.py", "import workers.engine"),
        ("training/model.py", "import echo_api.jobs"),
        ("training/model.py", "import bench.model"),
        ("autoscale/controller.py", "import workers.engine"),
        ("autoscale/decision.py", "import echo_tasks.keys"),
        ("echo_tasks/keys.py", "import autoscale.decision"),
        ("echo_tasks/keys.py", "import monitoring.exporter.tasks"),
        ("monitoring/exporter/tasks.py", "import workers.engine"),
        ("echo_tasks/keys.py", "import monitoring.terminal"),
        ("monitoring/terminal/view.py", "import autoscale.decision"),
    ],
)
def test_a_forbidden_import_breaks_it(tmp_path: Path, module: str, line: str) -> None:
    """In a copy of the project one forbidden import, inside a function too, is found and named."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    path = tmp_path / module
    path.write_text(path.read_text() + f"\n\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert module.removesuffix(".py").replace("/", ".") in done.stdout


@pytest.mark.parametrize(
    "package",
    [
        "echo_tasks.celery",
        "echo_tasks.tasks",
        "echo_tasks.ledger",
        "cache.tiered",
        "autoscale.controller",
        "monitoring.exporter.__main__",
    ],
)
def test_the_contract_loads_no_torch_and_no_flask(package: str) -> None:
    """What every process imports stays light."""
    check = f"import {package}, sys; sys.exit(any(m in sys.modules for m in ('torch', 'flask', 'rwkv')))"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0


def test_the_api_loads_no_torch() -> None:
    """Importing the API, and making its application, loads no torch."""
    check = "import echo_api, sys; echo_api.create_app(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0
