"""A Kubernetes API server as far as one Deployment goes, and the controllers behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from exchange import Fake, Refusal, Reply, Request

NAMESPACE, DEPLOYMENT, TOKEN = "farm", "worker", "a-token"

COST = "controller.kubernetes.io/pod-deletion-cost"

SCALE = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{DEPLOYMENT}/scale"


def refuse(status: int, reason: str, message: str) -> Refusal:
    return Refusal(
        status, {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": status}
    )


@dataclass
class ClusterFake(Fake):
    """A Deployment and its pods. `deleted` are the pods that were, in order; `is_slow` has them stay for a while."""

    token: str = TOKEN
    replicas: int = 0
    version: int = 100
    pods: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    made: int = 0
    is_slow: bool = False
    forbidden: frozenset[str] = frozenset()

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            raise refuse(401, "Unauthorized", "Unauthorized")
        if request.method == "PATCH" and request.headers.get("content-type") != "application/merge-patch+json":
            raise refuse(415, "UnsupportedMediaType", "the body of the request was in an unknown format")
        if request.path == SCALE:
            self._permit(request, "deployments/scale")
            return self._scale(request)
        pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
        if request.path == pods and request.method == "GET":
            self._permit(request, "pods")
            wanted = dict(pair.split("=") for pair in request.query["labelSelector"].split(","))
            return Reply(200, {"kind": "PodList", "items": [pod for pod in self.pods if _has(pod, wanted)]})
        if (match := re.fullmatch(rf"{pods}/([\w-]+)", request.path)) and request.method == "PATCH":
            self._permit(request, "pods")
            return self._annotate(match[1], request.body)
        raise refuse(404, "NotFound", f"the server could not find {request.path}")

    def _permit(self, request: Request, resource: str) -> None:
        verb = {"GET": "get" if "/" in resource else "list", "PATCH": "patch"}[request.method]
        if f"{verb} {resource}" in self.forbidden:
            raise refuse(
                403,
                "Forbidden",
                f'{resource} is forbidden: User "system:serviceaccount:{NAMESPACE}:controller" cannot {verb} resource '
                f'"{resource}" in the namespace "{NAMESPACE}"',
            )

    def _scale(self, request: Request) -> Reply:
        if request.method == "PATCH":
            named = request.body.get("metadata", {}).get("resourceVersion")
            if named is not None and named != str(self.version):
                raise refuse(
                    409, "Conflict", "the object has been modified; please apply your changes to the latest version"
                )
            self.scale(request.body["spec"]["replicas"])
        spec = {"replicas": self.replicas} if self.replicas else {}
        return Reply(
            200,
            {
                "kind": "Scale",
                "apiVersion": "autoscaling/v1",
                "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE, "resourceVersion": str(self.version)},
                "spec": spec,
                "status": {"replicas": len(self.pods), "selector": "app=farm,part=worker"},
            },
        )

    def _annotate(self, name: str, body: dict[str, Any]) -> Reply:
        for pod in self.pods:
            if pod["metadata"]["name"] == name:
                pod["metadata"].setdefault("annotations", {}).update(body["metadata"]["annotations"])
                return Reply(200, pod)
        raise refuse(404, "NotFound", f'pods "{name}" not found')

    def scale(self, replicas: int) -> None:
        """As `kubectl scale`."""
        self.replicas = replicas
        self.version += 1
        if not self.is_slow:
            self.reconcile()

    def reconcile(self) -> None:
        """As the ReplicaSet's controller: who is not ready goes first, then the cheapest, then the newest."""
        while len(self.pods) < self.replicas:
            self.made += 1
            self.pods.append(_pod(f"worker-5c4f-{self.made}"))
        order = sorted(self.pods, key=lambda pod: (_is_ready(pod), _cost(pod), -self.pods.index(pod)))
        for pod in order[: len(self.pods) - self.replicas]:
            self.deleted.append(pod["metadata"]["name"])
            self.pods.remove(pod)

    def end(self, name: str, *, is_back: bool = True) -> None:
        """Have the worker of a pod end; the kubelet starts it again, after a while."""
        (status,) = [pod["status"] for pod in self.pods if pod["metadata"]["name"] == name]
        (container,) = [one for one in status["containerStatuses"] if one["name"] == "worker"]
        if is_back:
            container |= {"restartCount": container["restartCount"] + 1, "state": {"running": {}}}
        else:
            container["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}

    @property
    def names(self) -> list[str]:
        return [pod["metadata"]["name"] for pod in self.pods]


def _pod(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"app": "farm", "part": "worker", "pod-template-hash": "5c4f"}},
        "spec": {"containers": [{"name": "worker"}, {"name": "sidecar"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [
                {"name": "sidecar", "restartCount": 3, "ready": True, "state": {"running": {}}},
                {"name": "worker", "restartCount": 0, "ready": True, "state": {"running": {}}},
            ],
        },
    }


def _has(pod: dict[str, Any], labels: dict[str, str]) -> bool:
    return labels.items() <= pod["metadata"]["labels"].items()


def _is_ready(pod: dict[str, Any]) -> bool:
    return all(one["ready"] for one in pod["status"]["containerStatuses"])


def _cost(pod: dict[str, Any]) -> int:
    return int(pod["metadata"].get("annotations", {}).get(COST, 0))
