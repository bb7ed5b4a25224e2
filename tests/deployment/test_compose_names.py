"""All that the Compose files name exists: settings, ports, paths, images, secrets, files."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import fast_yaml
import known
import pytest
from compose_files import AUTOSCALE, BASE, OVERRIDE, SERVICES, SWARM, WHOLE, environment, read, variables
from processes import ROOT
from promtool import needed, promtool

from echo_tasks.settings import load

OTHERS = {
    "grafana": r"GF_[A-Z]+_[A-Z_]+",
    "jaeger": r"JAEGER_LISTEN_HOST",
    "engine": r"POST|CONTAINERS|NETWORKS|SERVICES|TASKS",
    "nginx": r"EDGE_[A-Z_]+",
    "controller": r"OPENBLAS_NUM_THREADS",
}
"""The variables that programs and libraries know which are not ours."""


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_of_a_version_and_ours_are_built(name: str) -> None:
    """Never the latest, whatever that is; our own are this release's, by targets of the Dockerfile."""
    image, _, version = SERVICES[name]["image"].rpartition(":")
    assert re.fullmatch(r"v?\d+\.\d+(\.\d+)?(-alpine)?", version), version
    if name in known.OURS:
        target = known.OURS[name]
        assert (image, version) == (f"deep-tree-echo/{target}", known.VERSION)
        assert SERVICES[name]["build"]["target"] == target
        assert target in known.targets()
        assert (ROOT / SERVICES[name]["build"]["dockerfile"]).is_file()
    else:
        assert "build" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_every_variable_is_one_that_its_program_knows(name: str) -> None:
    """Of ours each is a setting, of a value that is allowed; of others, one of theirs."""
    others, given = OTHERS.get(name, "(?!)"), environment(SERVICES[name])
    strange = [one for one in given if not re.fullmatch(others, one)]
    assert [one for one in strange if name not in known.OURS or not known.is_setting(one)] == []
    if name in known.OURS:
        assert load({one: given[one] for one in strange if not one.endswith("_FILE")})


def test_the_edge_knows_its_variables() -> None:
    """As nginx's configuration is rendered from them."""
    script = (ROOT / "docker" / "nginx" / "render.sh").read_text()
    assert set(environment(SERVICES["nginx"])) <= set(re.findall(r"^(EDGE_\w+)\|", script, re.M))


def test_every_place_is_a_service_at_its_port() -> None:
    """Wherever a name and a port stand: in environments, in Prometheus' and Grafana's configuration."""
    files = [BASE, OVERRIDE, AUTOSCALE, ROOT / "docker" / "prometheus.yml", ROOT / "docker" / "grafana/datasources.yml"]
    ports = known.PORTS | {"jaeger": {known.PORTS["jaeger"], 4318}, "engine": 2375, "celery-exporter": 9808}
    named = {(name, int(port)) for path in files for name, port in _places(path)}
    assert {name for name, _ in named} >= set(known.PORTS) - {"worker", "nginx"}
    for name, port in named:
        assert port in (ports[name] if isinstance(ports[name], set) else {ports[name]}), (name, port)


def _places(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"(?m)#.*$", "", path.read_text())
    places = re.findall(rf"(?<![\w/.-])(?:\w+://(?:[^@\s]*@)?)?({'|'.join(SERVICES)}):(\d{{2,5}})\b", text)
    return places + [("api", port) for port in re.findall(r"names: \[api\]\n\s+type: A\n\s+port: (\d+)", text)]


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in ("broker", "store", "nginx", "engine")])
def test_health_checks_ask_what_is_there(name: str) -> None:
    """A path that the service answers, at its port; of ours by the images' own program."""
    words = SERVICES[name]["healthcheck"]["test"]
    if name in known.OURS:
        assert words == ["CMD", "python", "-S", "/app/health.py", name]
        assert f'"{name}": (' in (ROOT / "docker" / "health.py").read_text()
        return
    port, path = re.search(r"http://127\.0\.0\.1:(\d+)(/[\w/-]*)", words[-1]).groups()  # type: ignore[union-attr]
    assert int(port) == {"jaeger": 13133, "celery-exporter": 9808}.get(name) or known.PORTS[name] == int(port)
    assert path.removeprefix("/grafana") in known.paths(name)


def test_secrets_are_made_mounted_and_named_alike() -> None:
    """Each that a service is given is made by docker/secrets.sh; each file that it looks for it is given."""
    script = (ROOT / "docker" / "secrets.sh").read_text()
    given = {secret for one in SERVICES.values() for secret in one.get("secrets", [])}
    assert given == set(WHOLE["secrets"])
    for secret, told in WHOLE["secrets"].items():
        assert told == {"file": f"./secrets/{secret}"}
        assert re.search(rf"\b{secret}\b", script)
    for name, service in SERVICES.items():
        looked_for = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service)))
        assert looked_for == set(service.get("secrets", [])), name


def test_what_an_operator_may_set_is_told() -> None:
    """Each variable of the files is in docker/README.md."""
    told = (ROOT / "docker" / "README.md").read_text()
    asked = {name for path in (BASE, OVERRIDE, AUTOSCALE, SWARM) for name in variables(path)}
    assert [name for name in sorted(asked) if f"`{name}`" not in told] == []


def test_the_scaled_service_is_the_one_that_the_controller_scales() -> None:
    """By project and service, in Compose; it may have any number of containers, and each its own address."""
    given = load({name: value for name, value in environment(SERVICES["controller"]).items() if "_FILE" not in name})
    assert (given.scale_actuator, given.docker_mode) == ("docker", "compose")
    assert (given.docker_project, given.docker_service) == (WHOLE["name"], "worker")
    assert load({"SCALE_ACTUATOR": read(BASE)["services"]["controller"]["environment"]["SCALE_ACTUATOR"]})


def compared(path: Path, key: str) -> dict[str, Any]:
    return {one.get("job_name") or one["name"]: one for one in fast_yaml.load(path.read_text())[key]}


def test_monitoring_is_that_of_the_farm_elsewhere() -> None:
    """The same jobs but the machine's own, by the same rules; the same sources by name and id."""
    ours, plain = ROOT / "docker" / "prometheus.yml", ROOT / "monitoring" / "prometheus" / "prometheus.yml"
    assert compared(ours, "scrape_configs").keys() == compared(plain, "scrape_configs").keys() - {"node"}
    for key in ("global", "rule_files"):
        assert fast_yaml.load(ours.read_text())[key] == fast_yaml.load(plain.read_text())[key]
    sources = (
        ROOT / "docker/grafana/datasources.yml",
        ROOT / "monitoring/grafana/provisioning/datasources/datasources.yml",
    )
    mine, theirs = (compared(path, "datasources") for path in sources)
    assert {name: one | {"url": ""} for name, one in mine.items()} == {
        name: one | {"url": ""} for name, one in theirs.items()
    }


@needed
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """With the rules where they are mounted."""
    shutil.copy(ROOT / "docker" / "prometheus.yml", tmp_path)
    shutil.copytree(ROOT / "monitoring" / "prometheus" / "rules", tmp_path / "rules")
    done = promtool("check", "config", "prometheus.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
