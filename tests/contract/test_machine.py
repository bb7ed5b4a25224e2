"""What a process may use of its machine, by its affinity and its control groups."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from echo_tasks import machine
from echo_tasks.machine import GIB, Memory


def limited(folder: Path, quotas: dict[str, str]) -> tuple[Path, Path]:
    """A tree of control groups with limits, in the deepest of which this process is."""
    for name, quota in quotas.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / "cpu.max").write_text(f"{quota}\n")
    (folder / "membership").write_text(f"0::/{max(quotas, key=len)}\n")
    return folder / "membership", folder


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
    assert machine.cores(*limited(tmp_path, quotas)) == cores_allowed


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    """A machine without control groups, or with files of another form, allows what the affinity does."""
    assert machine.cores(tmp_path / "none", tmp_path) == 8
    assert machine.cores(*limited(tmp_path, {"a": "nonsense"})) == 8


def of_version_1(folder: Path, **files: str) -> tuple[Path, Path]:
    """A group of version 1 below its controller's root, as systemd mounts them: cpu and cpuacct together."""
    for controller in ("cpu,cpuacct", "memory"):
        (folder / controller / "a").mkdir(parents=True)
    for name, text in files.items():
        controller = "memory" if name.startswith("memory") else "cpu,cpuacct"
        (folder / controller / "a" / name.replace("__", ".")).write_text(f"{text}\n")
    (folder / "membership").write_text("5:memory:/a\n4:cpu,cpuacct:/a\n0::/\n")
    return folder / "membership", folder


def test_quotas_of_version_1_bound_the_cores(tmp_path: Path) -> None:
    assert machine.cores(*of_version_1(tmp_path, cpu__cfs_quota_us="250000", cpu__cfs_period_us="100000")) == 3


def test_no_quota_of_version_1_is_minus_one(tmp_path: Path) -> None:
    assert machine.cores(*of_version_1(tmp_path, cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")) == 8


@pytest.fixture
def of_16_gib(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has 16 GiB, of which 12 are available."""
    whole = SimpleNamespace(total=16 * GIB, available=12 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: whole)


@pytest.mark.usefixtures("of_16_gib")
def test_the_tightest_limit_bounds_the_memory(tmp_path: Path) -> None:
    """What a group has only cached files in counts as free; a group around it with less left counts instead."""
    for name, most, used, cached in (("a", "8", 7, 1), ("a/b", "4", 2, 1), ("a/b/c", "max", 1, 0)):
        group = tmp_path / name
        group.mkdir()
        (group / "memory.max").write_text(f"{most if most == 'max' else int(most) * GIB}\n")
        (group / "memory.current").write_text(f"{used * GIB}\n")
        (group / "memory.stat").write_text(f"anon 5\ninactive_file {cached * GIB}\n")
    (tmp_path / "membership").write_text("0::/a/b/c\n")
    assert machine.memory(tmp_path / "membership", tmp_path) == Memory(4 * GIB, 2 * GIB)


@pytest.mark.usefixtures("of_16_gib")
def test_limits_of_version_1_bound_the_memory(tmp_path: Path) -> None:
    files = {"memory__limit_in_bytes": f"{2 * GIB}", "memory__usage_in_bytes": f"{GIB}", "memory__stat": "cache 1"}
    assert machine.memory(*of_version_1(tmp_path, **files)) == Memory(2 * GIB, GIB)


@pytest.mark.usefixtures("of_16_gib")
def test_without_limits_the_machines_memory_counts(tmp_path: Path) -> None:
    assert machine.memory(tmp_path / "none", tmp_path) == Memory(16 * GIB, 12 * GIB)
    assert Memory(16 * GIB, 12 * GIB).usable == round(14.4 * GIB)
    assert Memory(16 * GIB, 12 * GIB).free == pytest.approx(10.4 * GIB, abs=1)
    assert Memory(16 * GIB, GIB).free < 0, "the reserve is others'"
