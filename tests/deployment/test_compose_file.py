"""The Compose files: right by the specification and by Docker's own program, bounded, and closed."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import known
import pytest
from compose_files import (
    AUTOSCALE,
    BASE,
    GPU,
    OVERRIDE,
    SERVICES,
    SWARM,
    WHOLE,
    environment,
    merged,
    needs_compose,
    read,
    seconds,
)
from processes import ROOT

NETWORKS = {
    "nginx": {"edge"},
    "api": {"edge", "farm", "monitoring"},
    "worker": {"farm", "monitoring"},
    "controller": {"farm", "engine"},
    "exporter": {"farm"},
    "flower": {"edge", "farm"},
    "broker": {"farm"},
    "store": {"farm"},
    "prometheus": {"farm", "monitoring"},
    "grafana": {"edge", "monitoring"},
    "jaeger": {"monitoring"},
    "celery-exporter": {"farm"},
    "engine": {"engine"},
}
"""Who may speak with whom."""


def test_they_are_as_the_specification_says() -> None:
    """By its schema, offline."""
    files = [BASE, OVERRIDE, AUTOSCALE, SWARM, GPU]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_compose
def test_compose_reads_what_these_tests_read() -> None:
    """Docker's Compose merges and fills in as we do: images, networks, commands, health checks, environments."""
    files = [word for path in (BASE, OVERRIDE, AUTOSCALE) for word in ("-f", str(path))]
    command = ["docker", "compose", *files, "--profile", "celery-exporter", "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["services"]
    assert set(told) == set(SERVICES)
    for name, service in SERVICES.items():
        theirs = told[name]
        assert theirs["image"] == service["image"]
        assert set(theirs["networks"]) == set(service["networks"])
        assert (theirs.get("environment") or {}) == environment(service)
        assert [word.replace("$$", "$") for word in theirs.get("command") or []] == service.get("command", [])
        assert theirs["deploy"]["resources"]["limits"]["pids"] == service["deploy"]["resources"]["limits"]["pids"]


def test_the_services_are_those_that_are_meant() -> None:
    """A Swarm has the same, without what only Compose knows."""
    assert set(read(BASE)["services"]) == set(known.SERVICES)
    assert set(SERVICES) == {*known.SERVICES, "celery-exporter", "engine"}


def test_nobody_but_nginx_is_reached_from_outside() -> None:
    """No other publishes a port, has the host's network, or a name of its own that would keep it from being several."""
    assert {name for name, one in SERVICES.items() if "ports" in one} == {"nginx"}
    for service in SERVICES.values():
        assert not service.keys() & {"container_name", "hostname", "network_mode", "privileged", "pid", "ipc"}


def test_networks_keep_apart_who_need_not_speak() -> None:
    """Edge, farm and monitoring; all but the edge have no way out."""
    assert {name: set(one["networks"]) for name, one in SERVICES.items()} == NETWORKS
    assert {name for name, one in WHOLE["networks"].items() if not one.get("internal")} == {"edge"}
    assert set(read(BASE)["networks"]) == {"edge", "farm", "monitoring"}


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_is_bounded_and_closed(name: str) -> None:
    """Memory, processors, processes and log have a limit; no capability, no file system to write on; it has a check."""
    service = SERVICES[name]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert seconds(service["stop_grace_period"]) > 0
    assert all("read_only" in one for one in service["volumes"] if one["type"] == "bind" and name != "engine")


def test_passwords_are_on_no_command_line() -> None:
    """What a shell puts in for them reaches a program by its standard input or its environment."""
    for name, service in SERVICES.items():
        for text in [*service.get("command", []), *service["healthcheck"]["test"]]:
            for line in filter(lambda line: "$(cat" in line, text.split("\n")):
                assert re.match(r"(export )?[A-Z_]+=|requirepass ", line), (name, line)


def test_a_stop_leaves_time_for_what_runs() -> None:
    """A worker's grace and half a minute to hand back the rest; the edge's streams; the API's requests."""
    grace = float(environment(SERVICES["worker"])["ECHO_GRACE_S"])
    assert seconds(SERVICES["worker"]["stop_grace_period"]) >= grace + 30
    assert seconds(SERVICES["api"]["stop_grace_period"]) >= 2 * 10
    assert seconds(SERVICES["nginx"]["stop_grace_period"]) > 60


def test_threads_do_not_go_by_the_machines_cores() -> None:
    """What would start one for each, whatever its limits, is told how many: a large machine's are more than `pids`."""
    assert int(environment(SERVICES["nginx"])["EDGE_WORKERS"]) <= 4
    assert environment(SERVICES["controller"])["OPENBLAS_NUM_THREADS"] == "1"
    assert SERVICES["engine"]["deploy"]["resources"]["limits"]["pids"] >= 128


def test_workers_are_given_a_gpu_where_it_is_asked_for() -> None:
    """By a file of its own: more memory, the same bounds of all else, and a setting that has them refuse a CPU."""
    worker = merged(BASE, OVERRIDE, GPU)["services"]["worker"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    limits = SERVICES["worker"]["deploy"]["resources"]["limits"]
    assert worker["deploy"]["resources"]["limits"] == limits | {"memory": "8G"}
    assert known.is_allowed("ECHO_DEVICE", environment(worker)["ECHO_DEVICE"])
    assert "devices" not in str(SERVICES["worker"]["deploy"])
