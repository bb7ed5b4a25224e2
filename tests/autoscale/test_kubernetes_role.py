"""The controller's Role in k8s/ lets it do what its actuator asks for, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import fast_yaml
from cluster_fake import DEPLOYMENT, NAMESPACE, TOKEN, ClusterFake
from exchange import Request, served
from processes import ROOT
from registry_fake import Draining, on

from autoscale.actuators.assembly import make
from echo_tasks.settings import load

VERBS = {"PATCH": "patch", "GET": "get"}


def right(request: Request) -> tuple[str, str, str]:
    """Group, resource and verb of a request, as Kubernetes authorises it: reading without a name is a list."""
    match = re.fullmatch(r"/apis?(?:/(\w+))?/v1/namespaces/\w+/(\w+)(?:/([\w-]+))?(?:/(\w+))?", request.path)
    assert match, request.path
    group, resource, name, part = match.groups()
    verb = VERBS[request.method] if name else "list"
    return group or "", f"{resource}/{part}" if part else resource, verb


def test_the_role_has_what_the_actuator_asks_for(tmp_path: Path, registry: Draining) -> None:
    """More pods, a drained one that goes, what is read meanwhile: each request has its rule, each rule its request."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "namespace").write_text(NAMESPACE)
    cluster = ClusterFake()
    cluster.scale(3)
    with served(cluster) as address:
        env = {"KUBERNETES_API": f"http://{address}", "KUBERNETES_CREDENTIALS": str(tmp_path)}
        actuator = make("kubernetes", load(env | {"KUBERNETES_DEPLOYMENT": DEPLOYMENT}), registry)
        goes = cluster.names[0]
        actuator.start(1)
        actuator.drain([on(goes)])
        cluster.end(goes)
        actuator.starting([])
    assert cluster.deleted == [goes]
    needed = {right(request) for request in cluster.asked}
    documents = list(fast_yaml.load_all((ROOT / "k8s" / "access.yaml").read_text()))
    (role,) = [it for it in documents if it["kind"] == "Role"]
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == needed
    (scale,) = [rule for rule in role["rules"] if rule["resources"] == ["deployments/scale"]]
    assert scale["resourceNames"] == [load({}).kubernetes_deployment]
