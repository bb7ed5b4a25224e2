"""The Cloud Run files: valid by Google's own description of its API, and naming what exists."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fast_yaml
import known
import pytest
import schemas
from processes import ROOT

from echo_api.proxies import TrustedProxies
from echo_tasks.settings import load

FOLDER = ROOT / "clouds" / "google"
DOCUMENTS = {path.stem: fast_yaml.load(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))}
CONTAINERS = {
    container["name"]: (name, container)
    for name, document in DOCUMENTS.items()
    for container in document["spec"]["template"]["spec"]["containers"]
}

NAMES = ("PROJECT", "REGION", "NETWORK", "SUBNETWORK", "BROKER_HOST", "STORE_HOST", "EDGE_ADDRESS")
EDGE_ADDRESS = "198.51.100.7"
RECIPE = (FOLDER / "README.md").read_text()

GCLOUD = r"""#!/bin/sh
case "$1 $3" in
  "memorystore get-certificate-authority")
    printf '{"managedServerCa":{"caCerts":[{"certificates":["of %s\\n","its second\\n"]}]}}' "$4" ;;
  "secrets memorystore-ca") grep . >"$TOLD" ;;
esac
"""
"""A gcloud that has certificates, each with the end of its line, and takes a secret."""

LEFT_OUT = re.compile("Not supported (by|in) Cloud Run", re.I)


def unsupported(kind: str, value: Any, where: str = "") -> Iterator[str]:
    """The fields whose description says that Cloud Run knows them from Kubernetes, and does not take them."""
    for name, told in schemas.cloud_run()[kind].get("properties", {}).items():
        if name in value:
            if LEFT_OUT.match(told.get("description", "")):
                yield f"{where}.{name}"
            below = told.get("$ref") or told.get("items", {}).get("$ref")
            for it in value[name] if isinstance(value[name], list) else [value[name]]:
                yield from unsupported(below, it, f"{where}.{name}") if below else ()


def test_the_files_are_there() -> None:
    """A service, and two worker pools."""
    kinds = {name: document["kind"] for name, document in DOCUMENTS.items()}
    assert kinds == {"service": "Service", "workers": "WorkerPool", "control": "WorkerPool"}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_files_are_valid(name: str) -> None:
    """By the schema, strictly, and with nothing that is taken from Kubernetes in vain."""
    document = DOCUMENTS[name]
    assert schemas.faults(document) == []
    assert list(unsupported(document["kind"], document)) == []


def test_what_is_wrong_is_found_out() -> None:
    """A field that is none, a type, and one that Cloud Run does not take."""
    broken = copy.deepcopy(DOCUMENTS["workers"])
    spec = broken["spec"]["template"]["spec"]
    spec["replicas"] = 2
    spec["containers"][0]["startupProbe"]["periodSeconds"] = "ten"
    told = "\n".join(schemas.faults(broken))
    assert "'replicas' was unexpected" in told
    assert "'ten' is not of type 'integer'" in told
    del spec["replicas"]
    spec["containers"][0]["securityContext"] = {"runAsUser": known.USER}
    assert list(unsupported("WorkerPool", broken)) == [".spec.template.spec.containers.securityContext"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_are_our_images_settings_and_ports(name: str) -> None:
    """Each service's own image, at the version; settings by name and value; files that are mounted; probes by path."""
    document, container = CONTAINERS[name]
    image, _, tag = container["image"].rpartition(":")
    assert image == f"REGION-docker.pkg.dev/PROJECT/deep-tree-echo/{known.OURS[name]}"
    assert known.OURS[name] in known.targets()
    assert tag == known.VERSION
    mounted = set(_mounted(DOCUMENTS[document], container))
    for setting in container["env"]:
        assert known.is_setting(setting["name"])
        if setting["value"].startswith("/secrets/"):
            assert setting["value"] in mounted
        else:
            assert known.is_allowed(setting["name"], setting["value"].replace("EDGE_ADDRESS", EDGE_ADDRESS))
    for kind in {"startupProbe", "livenessProbe"} & set(container):
        assert container[kind]["httpGet"]["port"] == known.PORTS[name]
        assert container[kind]["httpGet"]["path"] in known.paths(name)
        assert container[kind]["timeoutSeconds"] <= container[kind]["periodSeconds"]
    start = container["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] <= 240  # Cloud Run's most
    assert [it["containerPort"] for it in container.get("ports", [])] == ([known.PORTS["api"]] if name == "api" else [])


def _mounted(document: dict[str, Any], container: dict[str, Any]) -> Iterator[str]:
    places = {it["name"]: it["mountPath"] for it in container["volumeMounts"]}
    for volume in document["spec"]["template"]["spec"]["volumes"]:
        for item in volume["secret"]["items"]:
            if volume["name"] in places:
                yield f"{places[volume['name']]}/{item['path']}"


def test_the_service_lets_streams_live() -> None:
    """As long as Cloud Run lets a request be, as many as it lets there be, and with a processor between them."""
    template = DOCUMENTS["service"]["spec"]["template"]
    assert template["spec"]["timeoutSeconds"] == 3600
    assert template["spec"]["containerConcurrency"] == 1000
    assert template["metadata"]["annotations"]["run.googleapis.com/cpu-throttling"] == "false"
    assert int(template["metadata"]["annotations"]["autoscaling.knative.dev/minScale"]) >= 1


def test_workers_hand_back_before_they_are_killed() -> None:
    """An instance that is to go has ten seconds."""
    settings = {it["name"]: it["value"] for it in CONTAINERS["worker"][1]["env"]}
    assert float(settings["ECHO_GRACE_S"]) <= 5


def test_nobody_but_the_operator_sets_the_number_of_workers() -> None:
    """The controller watches; a worker pool scales by no metric of its own."""
    settings = {it["name"]: it["value"] for it in CONTAINERS["controller"][1]["env"]}
    assert settings["SCALE_ACTUATOR"] == "none"
    for name in ("workers", "control"):
        assert DOCUMENTS[name]["metadata"]["annotations"]["run.googleapis.com/scalingMode"] == "manual"


def test_clients_are_known_behind_the_load_balancer() -> None:
    """It writes its own address behind the client's; what a client says of itself stands before that."""
    given = {it["name"]: it["value"] for it in CONTAINERS["api"][1]["env"]}["TRUSTED_PROXIES"]
    networks = load({"TRUSTED_PROXIES": given.replace("EDGE_ADDRESS", EDGE_ADDRESS)}).trusted_proxies
    asked = {"REMOTE_ADDR": "169.254.8.129", "HTTP_X_FORWARDED_FOR": f"10.9.9.9,203.0.113.9,{EDGE_ADDRESS}"}
    TrustedProxies(lambda environ, start: [environ["REMOTE_ADDR"].encode()], networks)(asked, lambda *_: None)
    assert asked["REMOTE_ADDR"] == "203.0.113.9"


@pytest.mark.skipif(not shutil.which("jq"), reason="there is no jq")
def test_the_recipe_has_both_servers_trusted(tmp_path: Path) -> None:
    """By one secret, with every certificate of either's authority in it."""
    command = re.search(r"^for server in broker store; do .+?--data-file=-$", RECIPE, re.M | re.S)
    assert command
    (tmp_path / "gcloud").write_text(GCLOUD)
    (tmp_path / "gcloud").chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "REGION": "here", "TOLD": str(tmp_path / "told")}
    subprocess.run(["bash", "-ec", command[0]], env=env, check=True)
    told = (tmp_path / "told").read_text().splitlines()
    assert told == ["of broker", "its second", "of store", "its second"]


def test_the_recipe_puts_the_sites_names_in() -> None:
    """Its function, as it stands in the README, leaves none of ours behind."""
    function = re.search(r"^site\(\) .+?; \}$", RECIPE, re.M | re.S)
    assert function
    names = {name: f"my{number}" for number, name in enumerate(NAMES)}
    for file, document in DOCUMENTS.items():
        command = ["bash", "-c", f"{function[0]}\nsite {file}"]
        env = {"PATH": "/usr/bin:/bin"} | names
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        assert not re.search(rf"\b({'|'.join(NAMES)})\b", re.sub("#.*", "", done.stdout))
        filled = fast_yaml.load(done.stdout)
        assert schemas.faults(filled) == []
        assert (
            filled["spec"]["template"]["spec"]["serviceAccountName"]
            == f"farm@{names['PROJECT']}.iam.gserviceaccount.com"
        )
        assert filled["kind"] == document["kind"]
