"""What must hold of every pod: rights, limits, probes, ends."""

from __future__ import annotations

import itertools

import known
import manifests
import pytest
from manifests import Workload

import echo_api.server
from echo_tasks.local import servers
from echo_tasks.settings import load
from workers import watchdog

PLAIN = manifests.plain()
WORKLOADS = manifests.workloads(PLAIN)
BY_SERVICE = {one.service: one for one in WORKLOADS}
SETTINGS = manifests.one(PLAIN, "ConfigMap", "settings")["data"]
HAND_BACK_S = 15
"""A worker that hands back what it runs, and tells of it, is through long before."""

each = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one.name)


def quantity(told: str | int) -> float:
    """Kubernetes' 250m, 2, 512Mi, 2Gi."""
    units = {"m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}
    text = str(told)
    unit = next((unit for unit in units if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * units.get(unit, 1)


@each
def test_pods_have_no_rights(workload: Workload) -> None:
    """As the namespace's level `restricted` asks, and beyond: a root file system that is only read."""
    pod, own = workload.pod["securityContext"], workload.container["securityContext"]
    assert pod["runAsNonRoot"] is True
    assert (pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"]) == (known.USER,) * 3
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    kinds = {next(key for key in volume if key != "name") for volume in workload.pod["volumes"]}
    assert kinds <= {"emptyDir", "secret", "configMap"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(workload.pod)


@each
def test_only_the_controller_has_a_token(workload: Workload) -> None:
    """Of an account with rights; the others' account has none."""
    is_controller = workload.service == "controller"
    assert workload.pod["automountServiceAccountToken"] is is_controller
    assert workload.pod["serviceAccountName"] == ("controller" if is_controller else "farm")
    bound = [subject["name"] for it in PLAIN if it["kind"] == "RoleBinding" for subject in it["subjects"]]
    assert bound == ["controller"]
    manifests.one(PLAIN, "ServiceAccount", workload.pod["serviceAccountName"])


@each
def test_services_variables_are_kept_out(workload: Workload) -> None:
    """Kubernetes would set BROKER_PORT to a URL, for there is a Service of that name: our settings would refuse it."""
    assert workload.pod["enableServiceLinks"] is False
    assert known.is_setting("BROKER_PORT")


@each
def test_containers_have_requests_and_limits(workload: Workload) -> None:
    """Of processor and memory; disks in memory's place are bounded, too."""
    resources = workload.container["resources"]
    for name in ("cpu", "memory"):
        assert 0 < quantity(resources["requests"][name]) <= quantity(resources["limits"][name])
    assert all(it["emptyDir"]["sizeLimit"] for it in workload.pod["volumes"] if "emptyDir" in it)


def test_workers_have_whole_cores() -> None:
    """The engine has as many threads as the quota has cores, rounded up: a fraction would have them wait."""
    limit = quantity(BY_SERVICE["worker"].container["resources"]["limits"]["cpu"])
    assert limit == int(limit)


@each
def test_containers_are_probed(workload: Workload) -> None:
    """Started, ready, alive; and a life that is not taken at the first missed beat."""
    kinds = dict(workload.probes())
    assert set(kinds) == {"startup", "readiness", "liveness"}
    live = kinds["liveness"]
    assert live["periodSeconds"] * live["failureThreshold"] >= 60
    assert all(probe["timeoutSeconds"] <= probe["periodSeconds"] or kind == "startup" for kind, probe in kinds.items())


def test_the_watchdog_comes_before_the_kubelet() -> None:
    """A worker that takes nothing ends by itself, with its steps handed back, before it is killed for it."""
    live = BY_SERVICE["worker"].container["livenessProbe"]
    allowed_s = watchdog.STALLED_S + live["periodSeconds"] * live["failureThreshold"]
    assert watchdog.remedy(stalled_s=allowed_s, silent_s=0) is watchdog.Remedy.EXIT


def test_an_outage_of_the_broker_takes_no_api_away() -> None:
    """A pod begins to serve when all is there, and goes on without: /readyz would take all pods at once."""
    probes = {kind: probe["httpGet"]["path"] for kind, probe in BY_SERVICE["api"].probes()}
    assert probes == {"startup": "/readyz", "readiness": "/livez", "liveness": "/livez"}


def test_workers_may_finish_before_they_are_killed() -> None:
    """Their pods are given the grace of their setting, and time to hand the rest back."""
    grace_s = load({"ECHO_GRACE_S": SETTINGS["ECHO_GRACE_S"]}).echo_grace_s
    assert BY_SERVICE["worker"].pod["terminationGracePeriodSeconds"] >= grace_s + HAND_BACK_S


def test_the_api_leaves_its_service_before_it_stops() -> None:
    """It sleeps while the Service forgets it, then has its own server's time, and some to spare."""
    api = BY_SERVICE["api"]
    slept_s = api.container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert slept_s >= 5
    assert api.pod["terminationGracePeriodSeconds"] > slept_s + echo_api.server.graceful_timeout


def test_the_ingress_controller_closes_idle_connections_first() -> None:
    """After its 60 s; it might send a request just when the API closed."""
    (given,) = [it["value"] for it in BY_SERVICE["api"].container["env"] if it["name"] == "CLIENT_IDLE_S"]
    assert load({"CLIENT_IDLE_S": given}).client_idle_s > 60


@pytest.mark.parametrize("service", ["api", "worker", "controller"])
def test_updates_and_evictions_leave_enough(service: str) -> None:
    """One more comes before one goes; a budget covers those pods, and lets one go at a time."""
    workload = BY_SERVICE[service]
    assert workload.document["spec"]["replicas"] == 2
    assert workload.document["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budgets = [it["spec"] for it in PLAIN if it["kind"] == "PodDisruptionBudget"]
    (mine,) = [it for it in budgets if manifests.selects(it["selector"], workload.labels)]
    assert mine["maxUnavailable"] == 1
    assert mine["unhealthyPodEvictionPolicy"] == "AlwaysAllow"  # controllers are not ready while the broker is away
    (spread,) = workload.pod["topologySpreadConstraints"]
    assert manifests.selects(spread["labelSelector"], workload.labels)


@each
def test_a_workload_selects_its_own_pods_and_no_others(workload: Workload) -> None:
    """Or two would fight for them."""
    selected = [one.name for one in WORKLOADS if manifests.selects(workload.document["spec"]["selector"], one.labels)]
    assert selected == [workload.name]


@pytest.mark.parametrize("role", servers.ROLES)
def test_servers_are_set_as_the_farms_own_are(role: str) -> None:
    """What is kept, what is refused, and what is let go; and no more than their containers may have."""
    words = servers.arguments(role, load({"BROKER_MEMORY_MB": "1024"}))
    own = {one.removeprefix("--"): other for one, other in itertools.pairwise(words) if one.startswith("--")}
    text = manifests.one(PLAIN, "ConfigMap", role)["data"]["valkey.conf"]
    here = dict(line.split(maxsplit=1) for line in text.splitlines())
    here["save"] = here["save"].strip('"')
    places = {"port", "bind", "dir", "protected-mode", "daemonize", "set-proc-title"}
    assert {name: it for name, it in here.items() if name not in places} == {
        name: it for name, it in own.items() if name not in places
    }
    limit = quantity(BY_SERVICE[role].container["resources"]["limits"]["memory"])
    most = int(here["maxmemory"].removesuffix("mb")) * 2**20
    # While it writes its log anew, a broker that is written to may have nearly everything twice.
    assert limit >= most * (2 if here["appendonly"] == "yes" else 1.25)
