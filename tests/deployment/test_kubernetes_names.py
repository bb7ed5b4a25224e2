"""What the manifests name exists: images, ports, settings, metrics, paths, and what they name to one another."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import expressions
import fast_yaml
import known
import manifests
import pytest
import yaml
from manifests import Workload

from autoscale.policy import Policy
from echo_tasks.settings import Settings, is_secret, load
from workers.choosing import MOST_SLOTS

PLAIN = manifests.plain()
WORKLOADS = manifests.workloads(PLAIN)
OURS = [one for one in WORKLOADS if one.service in known.OURS]
SETTINGS = manifests.one(PLAIN, "ConfigMap", "settings")["data"]
INGRESS = manifests.one(PLAIN, "Ingress", "edge")


def by_name(workload: Workload) -> str:
    return workload.name


def variables(workload: Workload) -> dict[str, str]:
    """The settings of a workload of ours: those of all, and its own."""
    return SETTINGS | {it["name"]: it["value"] for it in workload.container.get("env", [])}


def mounted(workload: Workload) -> set[str]:
    """The files that its Secrets put into its container."""
    paths = {it["name"]: it["mountPath"] for it in workload.container["volumeMounts"]}
    return {
        f"{paths[volume['name']]}/{item['path']}"
        for volume in workload.pod["volumes"]
        if "secret" in volume
        for item in volume["secret"]["items"]
    }


def test_all_services_are_there() -> None:
    """The workers' Deployment has the name that `kubectl scale` is told."""
    names = {one.service: one.name for one in WORKLOADS}
    assert set(names) == {*known.OURS, "broker", "store"}
    assert names.pop("worker") == "cognitive-service" == load({}).kubernetes_deployment
    assert all(service == name for service, name in names.items())


@pytest.mark.parametrize("workload", OURS, ids=by_name)
def test_images_are_ours(workload: Workload) -> None:
    """Each is a target of the Dockerfile, the right one, at the project's version."""
    name, _, tag = workload.container["image"].partition(":")
    assert name == f"deep-tree-echo/{known.OURS[workload.service]}"
    assert known.OURS[workload.service] in known.targets()
    assert tag == known.VERSION


@pytest.mark.parametrize("workload", WORKLOADS, ids=by_name)
def test_ports_are_those_that_are_listened_on(workload: Workload) -> None:
    """The container's, its Service's, and that of its annotation."""
    (port,) = workload.ports.values()
    assert port == known.PORTS[workload.service]
    service = manifests.one(PLAIN, "Service", workload.service)["spec"]
    assert service["selector"].items() <= workload.labels.items()
    assert [(it["port"], it["targetPort"]) for it in service["ports"]] == [(port, next(iter(workload.ports)))]


@pytest.mark.parametrize("workload", OURS, ids=by_name)
def test_settings_exist_and_may_be_so(workload: Workload) -> None:
    """Each by its name and value; a file of one is mounted from a Secret, and is the only way in which secrets come."""
    for name, value in variables(workload).items():
        assert known.is_setting(name), name
        if value.startswith("/run/secrets/"):
            assert name.endswith("_FILE")
            assert value in mounted(workload)
        else:
            assert known.is_allowed(name, value)
    assert {ref["configMapRef"]["name"] for ref in workload.container["envFrom"]} == {"settings"}
    secret = [name for name in variables(workload) if name.lower() in Settings.model_fields and is_secret(name.lower())]
    assert secret == []
    assert "@" not in SETTINGS["BROKER_URL"] + SETTINGS["CACHE_URL"]


@pytest.mark.parametrize("component", manifests.COMPONENTS)
def test_settings_of_components_exist(component: str) -> None:
    """Those that their patches set."""
    patches = fast_yaml.load((manifests.FOLDER / component / "kustomization.yaml").read_text()).get("patches", [])
    for text in (patch["patch"] for patch in patches if "patch" in patch):
        patched = fast_yaml.load(text)
        for name, value in patched["data"].items() if isinstance(patched, dict) else ():
            assert known.is_allowed(name, value)
            assert known.is_setting(name)


@pytest.mark.parametrize("workload", OURS, ids=by_name)
def test_probes_ask_for_what_is_answered(workload: Workload) -> None:
    """Path and port; the same of the path that Prometheus is told."""
    for _, probe in workload.probes():
        assert probe["httpGet"]["path"] in known.paths(workload.service)
        assert probe["httpGet"]["port"] in workload.ports
    annotations = workload.document["spec"]["template"]["metadata"].get("annotations", {})
    assert bool(annotations) == (workload.service != "flower")  # its own are its pages'
    if annotations:
        assert annotations["prometheus.io/scrape"] == "true"
        assert annotations["prometheus.io/path"] in known.paths(workload.service)
        assert int(annotations["prometheus.io/port"]) in workload.ports.values()


def test_the_edge_leads_to_routes() -> None:
    """Each path that it passes on is, or begins, a route of the API's; its metrics are none of them."""
    routes = known.paths("api")
    (rule,) = INGRESS["spec"]["rules"]
    paths = [(it["path"], it["pathType"]) for it in rule["http"]["paths"]]
    for path, kind in paths:
        assert (path in routes) if kind == "Exact" else any(route.startswith(path) for route in routes)
    assert not any("/metrics".startswith(path) for path, _ in paths)
    for it in rule["http"]["paths"]:
        service = manifests.one(PLAIN, "Service", it["backend"]["service"]["name"])
        assert it["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}


def queries() -> dict[str, str]:
    """What autoscalers ask Prometheus, by component."""
    (trigger,) = manifests.one(manifests.added("keda"), "ScaledObject", "cognitive-service")["spec"]["triggers"]
    (rule,) = fast_yaml.load((manifests.FOLDER / "hpa" / "adapter-values.yaml").read_text())["rules"]["external"]
    return {"keda": trigger["metadata"]["query"], "hpa": rule["metricsQuery"].replace(",<<.LabelMatchers>>", "")}


@pytest.mark.parametrize("component", ["keda", "hpa"])
def test_autoscalers_ask_for_metrics_that_exist(component: str) -> None:
    """In PromQL, of our exporter; both ask the same."""
    named = expressions.names(queries()[component])
    assert named == {"celery_queue_length", "echo_queue_in_flight"}
    assert all(map(known.is_metric, named))
    assert queries()["keda"] == queries()["hpa"]


def test_autoscalers_aim_where_our_controller_does() -> None:
    """At so many steps a worker as leave it 0.6 full, and scale the workers, within the settings' bounds."""
    aim = MOST_SLOTS * Policy().target
    keda = manifests.one(manifests.added("keda"), "ScaledObject", "cognitive-service")["spec"]
    hpa = manifests.one(manifests.added("hpa"), "HorizontalPodAutoscaler", "cognitive-service")["spec"]
    (trigger,), (metric,) = keda["triggers"], hpa["metrics"]
    assert float(trigger["metadata"]["threshold"]) == aim
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": f"{1000 * aim:.0f}m"}
    adapter = fast_yaml.load((manifests.FOLDER / "hpa" / "adapter-values.yaml").read_text())
    assert metric["external"]["metric"]["name"] == adapter["rules"]["external"][0]["name"]["as"]
    for scaler, least, most in ((keda, "minReplicaCount", "maxReplicaCount"), (hpa, "minReplicas", "maxReplicas")):
        target = scaler["scaleTargetRef"]
        manifests.one(PLAIN, target["kind"], target["name"])
        assert (str(scaler[least]), str(scaler[most])) == (SETTINGS["MIN_INSTANCES"], SETTINGS["MAX_INSTANCES"])


def test_monitors_name_jobs_as_the_rules_do() -> None:
    """So that alerts and dashboards hold in a cluster, too."""
    monitor = manifests.one(manifests.added("monitors"), "ServiceMonitor", "processes")["spec"]
    told = yaml.safe_dump(monitor["endpoints"])
    jobs = {"echo-api", "celery-exporter", *(f"echo-{it}" for it in re.search(r"\(([a-z|]+)\)", told)[1].split("|"))}  # type: ignore[index]
    configured = fast_yaml.load(expressions.CONFIGURATION.read_text())["scrape_configs"]
    assert jobs == {job["job_name"] for job in configured} - {"prometheus", "node"}
    watched = [one for one in WORKLOADS if manifests.selects(monitor["selector"], one.labels)]
    assert {one.service for one in watched} == {"api", "worker", "controller", "exporter"}
    assert {next(iter(one.ports)) for one in watched} == {endpoint["port"] for endpoint in monitor["endpoints"]}


def test_kustomize_lists_what_plain_apply_reads() -> None:
    """The same files, under a name that plain apply passes over."""
    listed = fast_yaml.load((manifests.FOLDER / "Kustomization").read_text())["resources"]
    assert sorted(listed) == [path.name for path in manifests.FILES]
    assert listed[0] == manifests.FILES[0].name == "00-namespace.yaml"


def test_components_find_what_they_patch() -> None:
    """Files, objects and containers."""
    for component in manifests.COMPONENTS:
        folder = manifests.FOLDER / component
        described = fast_yaml.load((folder / "kustomization.yaml").read_text())
        assert all((folder / name).is_file() for name in described.get("resources", []))
        for patch in described.get("patches", []):
            text = patch.get("patch") or (folder / patch["path"]).read_text()
            target = patch.get("target") or _identity(fast_yaml.load(text))
            manifests.one(PLAIN, target["kind"], target["name"])


def _identity(document: dict[str, Any]) -> dict[str, str]:
    return {"kind": document["kind"], "name": document["metadata"]["name"]}


def test_secrets_that_are_named_are_made() -> None:
    """`secrets.sh` prints each, with every key that is mounted, anew each time; the edge's is the site's own."""
    made = {it["metadata"]["name"]: it["stringData"] for it in printed()}
    for workload in WORKLOADS:
        for volume in (it["secret"] for it in workload.pod["volumes"] if "secret" in it):
            assert {item["key"] for item in volume["items"]} <= set(made[volume["secretName"]])
    assert known.is_allowed("API_ADMIN_KEY", made["api"]["admin-key"])
    assert known.is_allowed("FLOWER_BASIC_AUTH", made["flower"]["users"])
    words = [it.rpartition(":")[2] for _ in range(2) for made in printed() for it in made["stringData"].values()]
    assert len(set(words)) == 8
    assert min(map(len, words)) == 64


def printed() -> list[dict[str, Any]]:
    text = subprocess.run([Path(manifests.FOLDER) / "secrets.sh"], capture_output=True, text=True, check=True).stdout
    documents = [it for it in fast_yaml.load_all(text) if it]
    assert {it["metadata"]["namespace"] for it in documents} == {PLAIN[0]["metadata"]["name"]}
    return documents


def test_no_secret_is_in_the_files() -> None:
    """No object of that kind, and no word in the files that has one's length."""
    assert not [it for it in PLAIN if it["kind"] == "Secret"]
    texts = "".join(path.read_text() for path in manifests.FOLDER.rglob("*") if path.is_file())
    assert not re.findall(r"[0-9a-f]{32,}|:[^@\s/$]+@", texts)
