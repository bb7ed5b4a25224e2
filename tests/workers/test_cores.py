"""How many cores a process may use, by its affinity and its control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers import cores


def limited(folder: Path, quotas: dict[str, str]) -> tuple[Path, Path]:
    """A tree of control groups with limits, in the deepest of which this process is."""
    for name, quota in quotas.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "cpu.max").write_text(f"{quota}\n")
    (folder / "membership").write_text(f"0::/{max(quotas, key=len)}\n")
    return folder, folder / "membership"


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's affinity allows eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


@pytest.mark.parametrize(
    ("quotas", "cores_allowed"),
    [
        ({"a": "max 100000"}, 8),
        ({"a": "200000 100000"}, 2),
        ({"a": "150000 100000"}, 2),
        ({"a": "10000 100000"}, 1),
        ({"a": "300000 100000", "a/b": "max 100000"}, 3),
        ({"a": "300000 100000", "a/b": "100000 50000"}, 2),
        ({"a": "9900000 100000"}, 8),
    ],
)
def test_quotas_bound_the_cores(tmp_path: Path, quotas: dict[str, str], cores_allowed: int) -> None:
    """The least of the affinity and of the quotas of all groups around counts, part of a core as a whole one."""
    assert cores.usable(*limited(tmp_path, quotas)) == cores_allowed


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    """A machine without control groups, or with files of another form, allows what the affinity does."""
    assert cores.usable(tmp_path, tmp_path / "none") == 8
    assert cores.usable(*limited(tmp_path, {"a": "nonsense"})) == 8
