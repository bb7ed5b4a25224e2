"""Workers as the pods of a Deployment, by its scale subresource."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from autoscale.actuators import Actuator, host
from autoscale.actuators.assembly import Drains
from autoscale.actuators.attempts import each
from autoscale.actuators.kubernetes_api import KubernetesApi, Refused
from autoscale.observation import Instance
from echo_tasks import logs
from echo_tasks.errors import ActuatorError, BrokerUnavailable
from echo_tasks.settings import Settings

COST = "controller.kubernetes.io/pod-deletion-cost"
"""Annotation of a pod: of those of a ReplicaSet that are ready, the one with the lowest goes first. Others have 0."""

LEAVING = "deep-tree-echo/draining"
"""Annotation of a pod that is to go: how often its worker had been restarted when it was told, and its node name."""

MOST_TRIES = 3

log = logs.get(__name__)


def make(settings: Settings, registry: Drains) -> Actuator:
    """The actuator for the Deployment that the settings name. Connects to nothing yet."""
    api = KubernetesApi(settings.kubernetes_api, settings.kubernetes_credentials)
    return Kubernetes(api, settings.kubernetes_namespace, settings.kubernetes_deployment, registry.drain)


@dataclass(frozen=True, slots=True)
class Scale:
    """What a Deployment is told, the pods that are its own, and the version of both."""

    replicas: int
    selector: str
    version: str


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that is neither over nor being deleted; `told_at` is the count of restarts when its worker was told to go.

    `node` is that worker.
    """

    name: str
    restarts: int
    is_running: bool
    told_at: int | None
    node: str

    @property
    def is_done(self) -> bool:
        """Whether the worker that was told to go has gone. Kubernetes starts another in its place."""
        return self.told_at is not None and (not self.is_running or self.restarts > self.told_at)


class Kubernetes(Actuator):
    """Changes the number of a Deployment's pods, and lowers it only by pods whose workers have drained.

    A pod that is to go is marked, and cheap to delete, before its worker is told. Once that has ended, in its own time
    and by no signal, the next call, whichever it is, makes the pod cheaper still and lowers the number: so Kubernetes
    deletes this one. A worker that Kubernetes has started there meanwhile, and that serves, is drained first.

    It needs a Role with `get` and `patch` on `deployments/scale` (group apps), and `list` and `patch` on `pods`.
    Workers must be named by their pods, as they are by default (`celery@%h`).
    """

    def __init__(
        self, api: KubernetesApi, namespace: str | None, deployment: str, drain: Callable[[str], bool]
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._deployment = deployment
        self._drain = drain

    def starting(self, live: Sequence[Instance]) -> int:
        """Pods that are wanted and whose workers have not announced themselves."""
        scale, pods = self._settled()
        announced = {host(instance.node) for instance in live}
        leaving = [pod for pod in pods if pod.told_at is not None]
        here = sum(pod.told_at is None and pod.name in announced for pod in pods)
        being_deleted = max(0, len(pods) - scale.replicas)
        return max(0, scale.replicas - max(0, len(leaving) - being_deleted) - here)

    def start(self, count: int) -> None:
        """Have so many more pods."""
        self._settled()
        self._rescale(lambda replicas: replicas + count)

    def drain(self, instances: Sequence[Instance]) -> None:
        """Have these workers end by themselves, and their pods be deleted then."""
        _, pods = self._settled()
        by_name = {pod.name: pod for pod in pods}

        def drain(instance: Instance) -> None:
            pod = by_name.get(host(instance.node))
            if pod and pod.told_at is None:
                self._mark(pod, instance.node)
            elif not pod:
                log.warning("drained worker is in no pod of the deployment", node=instance.node)
            self._drain(instance.node)

        each(f"drain {len(instances)} workers", instances, drain)

    def _settled(self) -> tuple[Scale, list[Pod]]:
        """Scale and pods, the number lowered by those whose workers have drained.

        Not while there are more or fewer pods than are wanted: Kubernetes is at it, and may be deleting these.
        """
        scale = self._scale()
        pods = self._pods(scale)
        if len(pods) != scale.replicas:
            return scale, pods
        done = [pod for pod in pods if pod.is_done and not self._is_back(pod)]
        if not done:
            return scale, pods
        each(f"mark {len(done)} pods for deletion", done, lambda pod: self._annotate(pod, {COST: "-1000"}))
        return self._set(scale, scale.replicas - len(done)), pods

    def _is_back(self, pod: Pod) -> bool:
        """Whether a worker serves again where one has drained; if so, it is told and waited for as that one was."""
        try:
            is_live = pod.is_running and self._drain(pod.node)
        except BrokerUnavailable as error:
            raise ActuatorError(f"pod {pod.name} cannot be told from one that serves: {error}") from error
        if is_live:
            self._mark(pod, pod.node)
        return is_live

    def _mark(self, pod: Pod, node: str) -> None:
        self._annotate(pod, {COST: "-100", LEAVING: f"{pod.restarts} {node}"})

    def _annotate(self, pod: Pod, annotations: dict[str, str]) -> None:
        path = f"/api/v1/namespaces/{self._in}/pods/{quote(pod.name)}"
        try:
            self._api.patch(f"annotate pod {pod.name}", path, {"metadata": {"annotations": annotations}})
        except Refused as refused:
            if refused.status != HTTPStatus.NOT_FOUND:  # it is gone already
                raise

    def _rescale(self, change: Callable[[int], int]) -> None:
        """Change the number, from what it is then, where another was faster."""
        for _ in range(MOST_TRIES):
            scale = self._scale()
            try:
                self._set(scale, change(scale.replicas))
                return
            except Refused as refused:
                if refused.status != HTTPStatus.CONFLICT:
                    raise
                conflict = refused
        raise ActuatorError(f"{conflict} ({MOST_TRIES} times)") from conflict

    def _set(self, scale: Scale, replicas: int) -> Scale:
        """Raises Refused with a conflict where the Deployment is not any more as it was read."""
        change = {"metadata": {"resourceVersion": scale.version}, "spec": {"replicas": replicas}}
        what = f"scale deployment {self._deployment} from {scale.replicas} to {replicas}"
        answer = _scale(self._api.patch(what, self._scale_path, change))
        log.info("deployment scaled", deployment=self._deployment, replicas=replicas)
        return answer

    def _scale(self) -> Scale:
        return _scale(self._api.get(f"read the scale of deployment {self._deployment}", self._scale_path))

    def _pods(self, scale: Scale) -> list[Pod]:
        path = f"/api/v1/namespaces/{self._in}/pods"
        what = f"list pods of deployment {self._deployment}"
        found = self._api.get(what, path, labelSelector=scale.selector)["items"]
        return [
            _pod(one)
            for one in found
            if "deletionTimestamp" not in one["metadata"] and one["status"].get("phase") not in ("Failed", "Succeeded")
        ]

    @property
    def _in(self) -> str:
        return quote(self._namespace or self._api.namespace)

    @property
    def _scale_path(self) -> str:
        return f"/apis/apps/v1/namespaces/{self._in}/deployments/{quote(self._deployment)}/scale"


def _scale(told: dict[str, Any]) -> Scale:
    """Kubernetes leaves a zero out."""
    status = told.get("status", {})
    return Scale(
        told.get("spec", {}).get("replicas", 0), status.get("selector", ""), told["metadata"]["resourceVersion"]
    )


def _pod(told: dict[str, Any]) -> Pod:
    """Of its containers the first counts: the worker's."""
    annotations = told["metadata"].get("annotations") or {}
    worker = told["spec"]["containers"][0]["name"]
    statuses: list[dict[str, Any]] = told["status"].get("containerStatuses") or []
    status: dict[str, Any] = next((one for one in statuses if one["name"] == worker), {})
    told_at, _, node = annotations.get(LEAVING, "").partition(" ")
    return Pod(
        told["metadata"]["name"],
        status.get("restartCount", 0),
        "running" in (status.get("state") or {}),
        int(told_at) if told_at else None,
        node,
    )
