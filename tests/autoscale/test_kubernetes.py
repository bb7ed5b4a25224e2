"""Workers as pods of a Deployment, under an API server that answers and acts as Kubernetes does."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from cluster_fake import COST, DEPLOYMENT, NAMESPACE, SCALE, TOKEN, ClusterFake
from exchange import served
from registry_fake import Draining, on

from autoscale.actuators.assembly import make
from autoscale.actuators.kubernetes import LEAVING, Kubernetes
from autoscale.actuators.kubernetes_api import KubernetesApi
from echo_tasks.errors import ActuatorError
from echo_tasks.settings import load


@pytest.fixture
def cluster() -> ClusterFake:
    cluster = ClusterFake()
    cluster.scale(3)
    return cluster


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """What a pod is given of its service account."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "namespace").write_text(NAMESPACE)
    return tmp_path


@pytest.fixture
def deployment(cluster: ClusterFake, registry: Draining, account: Path) -> Iterator[Kubernetes]:
    with served(cluster) as address:
        env = {"KUBERNETES_API": f"http://{address}", "KUBERNETES_CREDENTIALS": str(account)}
        actuator = make("kubernetes", load(env | {"KUBERNETES_DEPLOYMENT": DEPLOYMENT}), registry)
        assert isinstance(actuator, Kubernetes)
        yield actuator
        actuator._api.close()


def test_more_pods_by_the_scale_subresource(cluster: ClusterFake, deployment: Kubernetes) -> None:
    """A merge patch of the number, bound to the version that was read."""
    deployment.start(2)
    (patch,) = cluster.asked_for("^PATCH")
    assert str(patch) == f"PATCH {SCALE}"
    assert patch.body == {"metadata": {"resourceVersion": "101"}, "spec": {"replicas": 5}}
    assert patch.headers["content-type"] == "application/merge-patch+json"
    assert patch.headers["authorization"] == f"Bearer {TOKEN}"
    assert len(cluster.pods) == 5


def test_from_nothing(cluster: ClusterFake, deployment: Kubernetes) -> None:
    """Kubernetes leaves the number out where it is zero."""
    cluster.scale(0)
    deployment.start(1)
    assert cluster.replicas == 1


def test_what_is_starting_has_not_announced_itself(cluster: ClusterFake, deployment: Kubernetes) -> None:
    """Wanted pods, made or not, less those whose workers live."""
    cluster.is_slow = True
    cluster.scale(5)
    assert deployment.starting([on(cluster.names[0]), on("elsewhere")]) == 4


def test_a_drained_pod_goes_and_no_other(cluster: ClusterFake, deployment: Kubernetes, registry: Draining) -> None:
    """It is marked before its worker is told; when that has ended it is the cheapest, and the number is lowered."""
    first, goes, last = cluster.names
    deployment.drain([on(goes)])
    assert registry.told == [f"celery@{goes}"]
    assert cluster.pods[1]["metadata"]["annotations"] == {COST: "-100", LEAVING: f"0 celery@{goes}"}
    (request,) = cluster.asked_for("^PATCH")
    assert str(request) == f"PATCH /api/v1/namespaces/{NAMESPACE}/pods/{goes}"
    assert deployment.starting([on(first), on(goes), on(last)]) == 0
    assert cluster.replicas == 3
    cluster.end(goes)
    assert deployment.starting([on(first), on(last)]) == 0
    assert cluster.deleted == [goes]
    assert deployment.starting([on(first), on(last)]) == 0
    assert cluster.replicas == 2


def test_only_those_that_have_ended_go(cluster: ClusterFake, deployment: Kubernetes) -> None:
    """Another that drains and still works is cheap, too, but not as cheap. A sidecar's restarts do not count."""
    works, goes, _ = cluster.names
    deployment.drain([on(works), on(goes)])
    cluster.end(goes, is_back=False)
    deployment.starting([])
    assert cluster.deleted == [goes]
    assert works in cluster.names


def test_a_worker_that_is_back_before_its_pod_is_deleted_drains_again(
    cluster: ClusterFake, deployment: Kubernetes, registry: Draining
) -> None:
    """Kubernetes has started it, and nobody was there to lower the number: what it has taken up is not stopped."""
    first, goes, last = cluster.names
    deployment.drain([on(goes)])
    cluster.end(goes)
    registry.is_live = True
    for _ in range(2):
        assert deployment.starting([on(first), on(goes), on(last)]) == 0
    assert cluster.deleted == []
    assert registry.told == [f"celery@{goes}"] * 2
    cluster.end(goes, is_back=False)
    assert deployment.starting([on(first), on(last)]) == 0
    assert cluster.deleted == [goes]


def test_nothing_is_deleted_while_nobody_can_tell_who_serves(
    cluster: ClusterFake, deployment: Kubernetes, registry: Draining
) -> None:
    """The broker is away."""
    goes = cluster.names[0]
    deployment.drain([on(goes)])
    cluster.end(goes)
    registry.is_away = True
    with pytest.raises(ActuatorError, match=rf"pod {goes} cannot be told from one that serves"):
        deployment.starting([])
    assert cluster.deleted == []


def test_the_number_is_lowered_once(cluster: ClusterFake, deployment: Kubernetes) -> None:
    """While Kubernetes has not yet deleted the pod, it is not lowered for it again."""
    first, goes, last = cluster.names
    deployment.drain([on(goes)])
    cluster.end(goes)
    cluster.is_slow = True
    for _ in range(3):
        assert deployment.starting([on(first), on(last)]) == 0
    assert cluster.replicas == 2
    cluster.reconcile()
    assert cluster.deleted == [goes]


def test_more_are_started_beside_one_that_goes(cluster: ClusterFake, deployment: Kubernetes) -> None:
    """What has ended is taken off first."""
    first, goes, last = cluster.names
    deployment.drain([on(goes)])
    cluster.end(goes)
    deployment.start(2)
    assert cluster.deleted == [goes]
    assert cluster.replicas == 4
    assert deployment.starting([on(first), on(last)]) == 2


def test_pods_that_are_over_or_being_deleted_are_none(cluster: ClusterFake, deployment: Kubernetes) -> None:
    """Nor are those with other labels."""
    evicted, leaving, other = cluster.pods
    evicted["status"]["phase"] = "Failed"
    leaving["metadata"]["deletionTimestamp"] = "2026-11-25T10:00:00Z"
    other["metadata"]["labels"]["app"] = "other"
    names = cluster.names
    assert deployment.starting([on(name) for name in names]) == 3


def test_a_conflict_is_resolved_from_what_is_then(cluster: ClusterFake, deployment: Kubernetes) -> None:
    """Somebody else scaled in between."""
    cluster.meanwhile(f"PATCH {SCALE}", lambda: cluster.scale(7))
    deployment.start(1)
    assert cluster.replicas == 8


def test_a_conflict_that_stays_is_told(cluster: ClusterFake, deployment: Kubernetes) -> None:
    """After three tries."""
    for number in range(3):
        cluster.meanwhile(f"PATCH {SCALE}", lambda number=number: cluster.scale(7 + number))  # type: ignore[misc]
    with pytest.raises(ActuatorError, match=r"scale deployment worker from 8 to 9: 409 .*modified.* \(3 times\)"):
        deployment.start(1)
    assert cluster.replicas == 9


@pytest.mark.parametrize(
    ("permission", "what"),
    [
        ("get deployments/scale", "read the scale of deployment worker"),
        ("patch deployments/scale", "scale deployment worker from 3 to 4"),
        ("list pods", "list pods of deployment worker"),
    ],
)
def test_a_missing_permission_is_named(
    cluster: ClusterFake, deployment: Kubernetes, permission: str, what: str
) -> None:
    """With verb, resource and namespace, and who lacks it."""
    cluster.forbidden = frozenset({permission})
    verb, resource = permission.split()
    told = f"cannot {what}: 403 .*farm:controller.* cannot {verb} resource .{resource}. in the namespace .farm.*Role"
    with pytest.raises(ActuatorError, match=told):
        deployment.start(1)
    assert cluster.replicas == 3


def test_a_pod_that_cannot_be_marked_is_not_drained(
    cluster: ClusterFake, deployment: Kubernetes, registry: Draining
) -> None:
    """Its worker would be started again; the others are drained, and the error says which was not."""
    cluster.fail(f"PATCH .*{cluster.names[0]}", 500, {"message": "etcdserver: request timed out"})
    with pytest.raises(ActuatorError, match=rf"1 of 2 failed: .*annotate pod {cluster.names[0]}: 500 etcdserver"):
        deployment.drain([on(name) for name in cluster.names[:2]])
    assert registry.told == [f"celery@{cluster.names[1]}"]


def test_a_pod_that_is_gone_meanwhile_is_no_error(
    cluster: ClusterFake, deployment: Kubernetes, registry: Draining
) -> None:
    """Nor is a worker that runs elsewhere: both are told by the registry alone."""
    cluster.fail("PATCH .*/pods/", 404, {"message": "not found"})
    deployment.drain([on(cluster.names[0]), on("laptop")])
    assert len(registry.told) == 2


def test_the_token_is_read_anew(cluster: ClusterFake, deployment: Kubernetes, account: Path) -> None:
    """It is replaced under a controller that runs; an old one is told of, and so is none."""
    deployment.start(1)
    cluster.token = "another"  # noqa: S105 - of the fake
    with pytest.raises(ActuatorError, match="401 Unauthorized: the token of the service account is not taken"):
        deployment.start(1)
    (account / "token").write_text("another")
    deployment.start(1)
    assert cluster.replicas == 5
    (account / "token").unlink()
    with pytest.raises(ActuatorError, match="Kubernetes: no token of a service account"):
        deployment.start(1)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_the_server_must_be_vouched_for(cluster: ClusterFake, registry: Draining, account: Path) -> None:
    """By the authority that the service account names: one that is not never sees the token."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=cluster -keyout key.pem -out ca.crt"
    made = [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(made, cwd=account, check=True, capture_output=True)
    (account / "both.pem").write_text((account / "key.pem").read_text() + (account / "ca.crt").read_text())
    with served(cluster, certificate=account / "both.pem") as address:
        api = KubernetesApi(f"https://{address}", account)
        assert Kubernetes(api, None, DEPLOYMENT, registry.drain).starting([]) == 3
        api.close()
        seen = len(cluster.asked)
        (account / "ca.crt").unlink()
        api = KubernetesApi(f"https://{address}", account)
        with pytest.raises(ActuatorError, match=r"certificate verify failed"):
            Kubernetes(api, None, DEPLOYMENT, registry.drain).starting([])
        api.close()
        assert len(cluster.asked) == seen


def test_a_server_that_is_slow_away_or_not_one_is_told_as_such(
    cluster: ClusterFake, registry: Draining, account: Path
) -> None:
    """And found again when it is back."""
    with served(cluster) as address:
        api = KubernetesApi(f"http://{address}", account, urllib3.Timeout(connect=0.3, read=0.3))
        deployment = Kubernetes(api, NAMESPACE, DEPLOYMENT, registry.drain)
        cluster.delay("GET .*/scale", 1)
        with pytest.raises(ActuatorError, match=r"cannot read the scale of deployment worker: .*timed out"):
            deployment.starting([])
        cluster.fail("GET .*/scale", 502, "Bad Gateway")
        with pytest.raises(ActuatorError, match=r"cannot read the scale of deployment worker: 502 Bad Gateway"):
            deployment.starting([])
        assert deployment.starting([]) == 3
        api.close()
    away = Kubernetes(KubernetesApi("http://127.0.0.1:9", account), NAMESPACE, DEPLOYMENT, registry.drain)
    with pytest.raises(ActuatorError, match="refused"):
        away.starting([])
