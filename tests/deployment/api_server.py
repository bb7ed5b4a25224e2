"""A Kubernetes API server as far as `kubectl apply` and `kubectl scale` go: it knows kinds, and keeps objects."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from exchange import Fake, Refusal, Reply, Request

KINDS = {
    "v1": {
        "Namespace": "namespaces",
        "ServiceAccount": "serviceaccounts",
        "ConfigMap": "configmaps",
        "Secret": "secrets",
        "Service": "services",
    },
    "apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "networking.k8s.io/v1": {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies"},
    "rbac.authorization.k8s.io/v1": {"Role": "roles", "RoleBinding": "rolebindings"},
}


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _refuse(status: int, reason: str) -> Refusal:
    told = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": status}
    return Refusal(status, told | {"message": reason})


@dataclass
class ApiServer(Fake):
    """Objects by their paths, in the order in which they came."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, request: Request) -> Reply:
        if request.method == "GET" and (told := self._discovered(request.path)):
            return Reply(200, told)
        if request.path.endswith("/scale"):
            return self._scale(request)
        if request.method == "POST":
            return self._create(request)
        if request.path in self.objects:
            if request.method == "PATCH":
                _merge(self.objects[request.path], request.body)
            return Reply(200, self.objects[request.path])
        raise _refuse(404, "NotFound")

    @property
    def kinds(self) -> list[str]:
        return [it["kind"] for it in self.objects.values()]

    def _discovered(self, path: str) -> dict[str, Any] | None:
        """What there is, in the form that older servers have."""
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(it) for it in KINDS if "/" in it]}
        for version, kinds in KINDS.items():
            if path == _root(version):
                resources = [_resource(kind, name) for kind, name in kinds.items()]
                return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        return None

    def _create(self, request: Request) -> Reply:
        document = request.body
        if request.path != (expected := _collection(document)):
            raise _refuse(404, f"{request.path} is not {expected}")
        space = document["metadata"].get("namespace")
        if space and f"/api/v1/namespaces/{space}" not in self.objects:
            raise _refuse(404, f"namespaces {space} not found")
        path = f"{request.path}/{document['metadata']['name']}"
        if path in self.objects:
            raise _refuse(409, "AlreadyExists")
        document["metadata"] |= {"uid": path, "resourceVersion": "1"}
        self.objects[path] = document
        return Reply(201, document)

    def _scale(self, request: Request) -> Reply:
        deployment = self.objects[request.path.removesuffix("/scale")]
        if request.method in {"PUT", "PATCH"}:
            deployment["spec"]["replicas"] = request.body["spec"]["replicas"]
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": copy.deepcopy(deployment["metadata"])}
        return Reply(200, scale | {"spec": {"replicas": deployment["spec"]["replicas"]}, "status": {"replicas": 0}})


def _merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    """As far as patches of maps go."""
    for key, value in patch.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _group(version: str) -> dict[str, Any]:
    name, _, number = version.partition("/")
    one = {"groupVersion": version, "version": number}
    return {"name": name, "versions": [one], "preferredVersion": one}


def _resource(kind: str, name: str) -> dict[str, Any]:
    verbs = ["create", "get", "list", "patch", "update"]
    one = {"name": name, "singularName": kind.lower(), "namespaced": kind != "Namespace"}
    return one | {"kind": kind, "verbs": verbs}


def _collection(document: dict[str, Any]) -> str:
    root, space = _root(document["apiVersion"]), document["metadata"].get("namespace")
    where = f"/namespaces/{space}" if space else ""
    return f"{root}{where}/{KINDS[document['apiVersion']][document['kind']]}"
