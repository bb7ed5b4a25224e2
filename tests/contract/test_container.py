"""The container's metrics: of both versions of control groups, and of whatever else lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from echo_tasks.telemetry.container import Container

V2 = {
    "memory.current": "1000",
    "memory.max": "4000",
    "memory.stat": "anon 500\nfile 450\ninactive_file 300\nactive_file 150",
    "memory.events": "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0",
    "cpu.stat": "usage_usec 123\nuser_usec 100\nnr_periods 50\nnr_throttled 5\nthrottled_usec 999",
}
V1 = {
    "memory": {
        "memory.usage_in_bytes": "1000",
        "memory.limit_in_bytes": "4000",
        "memory.stat": "cache 450\ninactive_file 1\ntotal_inactive_file 300",
        "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2",
    },
    "cpu": {"cpu.stat": "nr_periods 50\nnr_throttled 5\nthrottled_time 999"},
}
WHOLE = {
    "echo_container_memory_bytes": 700,
    "echo_container_memory_limit_bytes": 4000,
    "echo_container_cpu_periods_total": 50,
    "echo_container_cpu_throttled_periods_total": 5,
    "echo_container_oom_kills_total": 2,
}


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """Where control groups are mounted."""
    return tmp_path / "cgroup"


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def told(mount: Path, membership: str) -> dict[str, float]:
    """The values of a process whose /proc/self/cgroup is as given."""
    (mount.parent / "membership").write_text(membership)
    container = Container(mount.parent / "membership", mount)
    return {sample.name: sample.value for metric in container.collect() for sample in metric.samples}


@pytest.mark.parametrize("group", ["", "machine.slice/echo.scope"])
def test_version_two(mount: Path, group: str) -> None:
    """The root of its own namespace, or a group below what is mounted."""
    write(mount / group, V2)
    assert told(mount, f"0::/{group}\n") == WHOLE


@pytest.mark.parametrize(
    ("controllers", "folder"), [("cpu,cpuacct", "cpu,cpuacct"), ("cpuacct,cpu", "cpu"), ("cpu", "cpu")]
)
def test_version_one(mount: Path, controllers: str, folder: str) -> None:
    """Each controller has a mount, by its name or by those of all that share it; the second version is idle."""
    write(mount / "memory" / "docker" / "1a2b", V1["memory"])
    write(mount / folder / "docker" / "1a2b", V1["cpu"])
    membership = f"11:{controllers}:/docker/1a2b\n4:memory:/docker/1a2b\n1:name=systemd:/docker/1a2b\n0::/docker/1a2b\n"
    assert told(mount, membership) == WHOLE


def test_a_container_that_sees_nothing_but_its_own_group(mount: Path) -> None:
    """Its membership is told from outside; what is mounted is its own group."""
    write(mount, V2)
    assert told(mount, "0::/system.slice/docker-1a2b.scope\n") == WHOLE
    write(mount / "memory", V1["memory"])
    write(mount / "cpu", V1["cpu"])
    assert told(mount, "4:memory:/docker/1a2b\n3:cpu:/docker/1a2b\n") == WHOLE


def test_no_limit_is_no_number(mount: Path) -> None:
    """Absent, and not some exabytes."""
    write(mount, V2 | {"memory.max": "max"})
    assert set(WHOLE) - set(told(mount, "0::/\n")) == {"echo_container_memory_limit_bytes"}
    write(mount / "memory", V1["memory"] | {"memory.limit_in_bytes": str(2**63 - 4096)})
    assert "echo_container_memory_limit_bytes" not in told(mount, "4:memory:/\n0::/\n")


def test_a_machine_that_is_no_container_tells_nothing(mount: Path) -> None:
    """Neither where there are no control groups at all, nor in the root of the second version."""
    assert told(mount, "") == {}
    write(mount, {"cgroup.procs": "1"})
    assert told(mount, "0::/\n") == {}
    assert [*Container(mount / "nowhere", mount).collect()]


@pytest.mark.parametrize(
    "text", ["", "garbage", "-5", "1e3", "12 13", "\x00", "oom_kill", "oom_kill many", "9" * 30 + "x"]
)
def test_a_malformed_file_is_as_good_as_none(mount: Path, text: str) -> None:
    """Its value is absent; the others are there."""
    write(mount, V2 | {"memory.current": text, "memory.events": text})
    assert set(WHOLE) - set(told(mount, "0::/\n")) == {"echo_container_memory_bytes", "echo_container_oom_kills_total"}


def test_what_is_no_file_does_no_harm(mount: Path) -> None:
    """A folder in a file's place, bytes that are no text, a membership that makes no sense."""
    write(mount, V2)
    (mount / "memory.max").unlink()
    (mount / "memory.max").mkdir()
    (mount / "cpu.stat").write_bytes(b"\xff\xfe\nnr_periods 50\nnr_throttled \xff\n")
    assert set(WHOLE) - set(told(mount, "0::/\n")) == {
        "echo_container_memory_limit_bytes",
        "echo_container_cpu_throttled_periods_total",
    }
    for membership in ("::::", "garbage\n\n:", "4:memory\n", "0::/../../..\n", "4:memory:/a\x00b\n"):
        told(mount, membership)


def test_cached_files_never_make_it_negative(mount: Path) -> None:
    """The two figures are not of one moment."""
    write(mount, V2 | {"memory.current": "100"})
    assert told(mount, "0::/\n")["echo_container_memory_bytes"] == 0
