"""The Kubernetes manifests: as `kubectl apply -f k8s/` reads them, and as kustomize builds them with components."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Any

import fast_yaml
import pytest
import yaml
from processes import ROOT

FOLDER = ROOT / "k8s"
FILES = sorted(FOLDER.glob("*.yaml"))
COMPONENTS = sorted(path.parent.name for path in FOLDER.glob("*/kustomization.yaml"))
WORKLOADS = ("Deployment", "StatefulSet")
COMPONENT_LABEL = "app.kubernetes.io/component"


def _kubectl_minor() -> int:
    """The minor version of the kubectl that is installed; 0 for none."""
    if not shutil.which("kubectl"):
        return 0
    done = subprocess.run(["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=60)
    found = re.search(r'"gitVersion": "v1\.(\d+)', done.stdout)
    return int(found[1]) if found else 0


kubectl_needed = pytest.mark.skipif(
    _kubectl_minor() < 21, reason="no kubectl 1.21 or newer, whose kustomize knows components"
)


def read(path: Path) -> list[dict[str, Any]]:
    """The documents of a file."""
    return [document for document in fast_yaml.load_all(path.read_text()) if document]


def plain() -> list[dict[str, Any]]:
    """What `kubectl apply -f k8s/` applies, in its order: every .yaml, .yml and .json, and no folder's."""
    found = sorted(path for path in FOLDER.iterdir() if path.suffix in {".yaml", ".yml", ".json"})
    return [document for path in found for document in read(path)]


def added(component: str) -> list[dict[str, Any]]:
    """The objects that a component brings, as they stand in its files."""
    folder = FOLDER / component
    names = fast_yaml.load((folder / "kustomization.yaml").read_text()).get("resources", [])
    return [document for name in names for document in read(folder / name)]


def built(folder: Path, *components: str, also: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What `kubectl apply -k` applies of a site of one's own of the farm, these components, and what else it says."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        "resources": [relpath(FOLDER, folder.resolve())],
        "components": [relpath(FOLDER / one, folder.resolve()) for one in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own | (also or {})))
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [document for document in fast_yaml.load_all(done.stdout) if document]


def one(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The object of that kind and name."""
    (found,) = [it for it in documents if it["kind"] == kind and it["metadata"]["name"] == name]
    return found


@dataclass(frozen=True)
class Workload:
    """A Deployment or StatefulSet."""

    document: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])

    @property
    def pod(self) -> dict[str, Any]:
        """Its pods' specification."""
        spec: dict[str, Any] = self.document["spec"]["template"]["spec"]
        return spec

    @property
    def labels(self) -> dict[str, str]:
        """Its pods' labels."""
        labels: dict[str, str] = self.document["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def service(self) -> str:
        """Which service of the farm it is: its pods' component."""
        return self.labels[COMPONENT_LABEL]

    @property
    def container(self) -> dict[str, Any]:
        """Its pods' only container."""
        (container,) = self.pod["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def ports(self) -> dict[str, int]:
        """Its container's ports by name."""
        return {port["name"]: port["containerPort"] for port in self.container["ports"]}

    def probes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Its container's probes, by what they are for."""
        for kind in ("startup", "readiness", "liveness"):
            yield kind, self.container[f"{kind}Probe"]


def workloads(documents: list[dict[str, Any]]) -> list[Workload]:
    return [Workload(document) for document in documents if document["kind"] in WORKLOADS]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector, with `matchLabels` and `matchExpressions` of `In`, selects these labels."""
    wanted = selector.get("matchLabels", {})
    among = {it["key"]: it["values"] for it in selector.get("matchExpressions", [])}
    assert all(it["operator"] == "In" for it in selector.get("matchExpressions", []))
    return wanted.items() <= labels.items() and all(labels.get(key) in values for key, values in among.items())
