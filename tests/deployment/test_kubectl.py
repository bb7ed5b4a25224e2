"""The commands of the documentation, by the real kubectl: against a small server, and kustomize by itself."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import fast_yaml
import known
import kubernetes_validate
import manifests
import pytest
import schemas
from api_server import ApiServer
from exchange import served

from echo_tasks.settings import load

pytestmark = manifests.kubectl_needed

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def kubectl(server: ApiServer, tmp_path: Path) -> Iterator[Kubectl]:
    """kubectl, of that server."""
    with served(server) as address:

        def run(*arguments: object, text: str | None = None) -> subprocess.CompletedProcess[str]:
            command = ["kubectl", f"--server=http://{address}", *map(str, arguments)]
            env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "KUBECONFIG": "/dev/null"}
            where = manifests.FOLDER.parent
            return subprocess.run(command, cwd=where, env=env, input=text, capture_output=True, text=True, timeout=60)

        yield run


def applied(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("flag", ["-k", "-f"])
def test_the_farm_is_applied_either_way(server: ApiServer, kubectl: Kubectl, flag: str) -> None:
    """Every object is made, the namespace first; the second time nothing changes."""
    first = applied(kubectl("apply", "--validate=false", flag, "k8s/"))
    assert len(first) == len(server.objects) == len(manifests.plain())
    assert all(line.endswith(" created") for line in first)
    assert server.kinds[0] == "Namespace"
    before = copy.deepcopy(server.objects)
    again = applied(kubectl("apply", "--validate=false", flag, "k8s/"))
    # kubectl sends a budget's selector each time.
    assert [line for line in again if not line.endswith(" unchanged") and not line.startswith("poddisruption")] == []
    assert server.objects == before


def test_both_ways_make_the_same(tmp_path: Path) -> None:
    """What kustomize builds is what stands in the files."""
    assert sorted(map(repr, manifests.built(tmp_path / "site"))) == sorted(map(repr, map(_sorted, manifests.plain())))


def _sorted(value: object) -> object:
    """In the order in which kustomize writes."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(it) for it in value] if isinstance(value, list) else value


def test_workers_are_scaled_by_hand(server: ApiServer, kubectl: Kubectl) -> None:
    """As the documents have it since the beginning; and nobody sets the number back: the bounds allow it."""
    applied(kubectl("apply", "--validate=false", "-k", "k8s/"))
    done = kubectl("-n", "deep-tree-echo", "scale", "deployment", "cognitive-service", "--replicas=5")
    assert applied(done) == ["deployment.apps/cognitive-service scaled"]
    path = "/apis/apps/v1/namespaces/deep-tree-echo/deployments/cognitive-service"
    assert server.objects[path]["spec"]["replicas"] == 5
    settings = manifests.one(manifests.plain(), "ConfigMap", "settings")["data"]
    assert settings["AUTO_SCALING_ENABLED"] == "false"
    assert int(settings["MIN_INSTANCES"]) <= 5 <= int(settings["MAX_INSTANCES"])


def test_a_kustomization_under_its_usual_name_would_break_the_plain_way(
    server: ApiServer, kubectl: Kubectl, tmp_path: Path
) -> None:
    """It is what the file's name is for."""
    copied = shutil.copytree(manifests.FOLDER, tmp_path / "k8s")
    (copied / "Kustomization").rename(copied / "kustomization.yaml")
    done = kubectl("apply", "--validate=false", "-f", copied)
    assert done.returncode != 0
    assert 'no matches for kind "Kustomization"' in done.stderr


def test_secrets_are_made_once(server: ApiServer, kubectl: Kubectl) -> None:
    """`create` leaves those alone that are there."""
    applied(kubectl("apply", "--validate=false", "-f", "k8s/00-namespace.yaml"))
    printed = subprocess.run([manifests.FOLDER / "secrets.sh"], capture_output=True, text=True, check=True).stdout
    assert len(applied(kubectl("create", "--validate=false", "-f", "-", text=printed))) == 4
    before = dict(server.objects)
    again = kubectl("create", "--validate=false", "-f", "-", text=printed)
    assert again.stderr.count("(AlreadyExists)") == 4
    assert server.objects == before


SCALERS = {
    "autoscale": {"AUTO_SCALING_ENABLED": "true", "SCALE_ACTUATOR": "kubernetes"},
    "keda": {"AUTO_SCALING_ENABLED": "false", "SCALE_ACTUATOR": "none"},
    "hpa": {"AUTO_SCALING_ENABLED": "false", "SCALE_ACTUATOR": "none"},
}


@pytest.mark.parametrize("component", SCALERS)
def test_whoever_follows_the_load_does_it_alone(component: str, tmp_path: Path) -> None:
    """The controller where it is ours, else it watches; and no manifest sets the number back."""
    documents = manifests.built(tmp_path / "site", component)
    settings = manifests.one(documents, "ConfigMap", "settings")["data"]
    base = manifests.one(manifests.plain(), "ConfigMap", "settings")["data"]
    assert settings == base | SCALERS[component]
    assert "replicas" not in manifests.one(documents, "Deployment", "cognitive-service")["spec"]
    assert load({name: settings[name] for name in ("SCALE_ACTUATOR", "AUTO_SCALING_ENABLED")})


def test_components_go_together(tmp_path: Path) -> None:
    """KEDA, monitors and a model of one's own: all that they bring, and nothing lost."""
    documents = manifests.built(tmp_path / "site", "keda", "monitors", "model")
    kinds = {it["kind"] for it in documents} - {it["kind"] for it in manifests.plain()}
    assert kinds == {"ScaledObject", "ServiceMonitor", "PersistentVolumeClaim"}
    others = [it for it in documents if it["kind"] in {"ScaledObject", "ServiceMonitor"}]
    assert [fault for it in others for fault in schemas.faults(it)] == []
    (worker,) = [it for it in manifests.workloads(documents) if it.service == "worker"]
    assert {"name": "ECHO_MODEL", "value": "/models/model.pth"} in worker.container["env"]
    assert {"name": "models", "mountPath": "/models", "readOnly": True} in worker.container["volumeMounts"]
    base = manifests.one(manifests.plain(), "Deployment", "cognitive-service")["spec"]["template"]["spec"]
    assert len(worker.pod["volumes"]) == len(base["volumes"]) + 1


def test_workers_are_given_a_gpu_where_it_is_asked_for(tmp_path: Path) -> None:
    """One each, which an update frees before it takes the next; the rest of them stays, the model of one's own, too."""
    documents = manifests.built(tmp_path / "site", "model", "gpu")
    deployment = manifests.one(documents, "Deployment", "cognitive-service")
    kubernetes_validate.validate(deployment, "1.30", strict=True)
    worker = manifests.Workload(deployment)
    assert worker.container["resources"]["limits"] == {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": 1}
    names = [it["name"] for it in worker.container["env"]]
    assert {"ECHO_DEVICE", "ECHO_MODEL", "BROKER_PASSWORD_FILE"} <= set(names)
    assert known.is_allowed("ECHO_DEVICE", "cuda")
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
    }


def test_the_site_of_the_documentation_can_be_built(tmp_path: Path) -> None:
    """Its registry in every image of ours, its host at the edge, its components."""
    (text,) = re.findall(r"```yaml\n(.+?)```", (manifests.FOLDER / "README.md").read_text(), re.S)
    site = fast_yaml.load(text)
    assert site.pop("resources") == ["../k8s"]
    components = [Path(name).name for name in site.pop("components")]
    documents = manifests.built(tmp_path / "site", *components, also=site)
    images = [one.container["image"] for one in manifests.workloads(documents)]
    ours = [image for image in images if "deep-tree-echo" in image]
    assert len(ours) == len(known.OURS)
    assert all(image.startswith("registry.example.org/deep-tree-echo/") for image in ours)
    assert all(image.endswith(f":{known.VERSION}") for image in ours)
    edge = manifests.one(documents, "Ingress", "edge")["spec"]
    assert edge["rules"][0]["host"] == edge["tls"][0]["hosts"][0] == "echo.mine.org"
