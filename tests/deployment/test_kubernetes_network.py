"""Who may reach whom, by the network policies."""

from __future__ import annotations

from itertools import product
from typing import Any

import known
import manifests

from echo_tasks.settings import load

PLAIN = manifests.plain()
WORKLOADS = manifests.workloads(PLAIN)
BY_SERVICE = {one.service: one for one in WORKLOADS}
POLICIES = [it for it in PLAIN if it["kind"] == "NetworkPolicy"]


def reached(sender: str, receiver: str, port: str, other: dict[str, str] | None = None) -> bool:
    """Whether the policies let a service, or a pod of another namespace with `other` as labels, reach a port of one."""
    out = other is not None or any(
        _lets(rule, "to", BY_SERVICE[receiver].labels, None, port, receiver)
        for policy in _of(sender, "Egress")
        for rule in policy["egress"]
    )
    labels = BY_SERVICE[sender].labels if other is None else {}
    return out and any(
        _lets(rule, "from", labels, other, port, receiver)
        for policy in _of(receiver, "Ingress")
        for rule in policy["ingress"]
    )


def _of(service: str, kind: str) -> list[dict[str, Any]]:
    """The policies of a kind that name somebody and select a service's pods."""
    specs = [policy["spec"] for policy in POLICIES]
    mine = [it for it in specs if manifests.selects(it["podSelector"], BY_SERVICE[service].labels)]
    return [it for it in mine if kind in it["policyTypes"] and it.get(kind.lower())]


def _lets(
    rule: dict[str, Any], side: str, labels: dict[str, str], other: dict[str, str] | None, port: str, receiver: str
) -> bool:
    numbered = {port, BY_SERVICE[receiver].ports[port]}
    if side not in rule or not numbered & {it["port"] for it in rule["ports"]}:
        return False
    return any(
        manifests.selects(peer["namespaceSelector"], other)
        if other is not None and "namespaceSelector" in peer
        else other is None and "namespaceSelector" not in peer and manifests.selects(peer["podSelector"], labels)
        for peer in rule[side]
    )


def namespace(name: str) -> dict[str, str]:
    return {"kubernetes.io/metadata.name": name}


def test_nobody_reaches_anybody_unless_a_policy_says_so() -> None:
    """One selects all pods, both ways, and lets nothing through."""
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in [policy["spec"] for policy in POLICIES]


def test_who_reaches_whom() -> None:
    """Our processes reach their servers and nobody else; clients the API alone; Prometheus the metrics."""
    names = sorted(BY_SERVICE)
    inside = {(a, b) for a in names for b in names if a != b and reached(a, b, next(iter(BY_SERVICE[b].ports)))}
    assert inside == {(one, server) for one in known.OURS for server in ("broker", "store")}
    for where, open_to in (
        ("ingress-nginx", {"api"}),
        ("nginx-ingress", {"api"}),
        ("monitoring", {"api", "worker", "controller", "exporter"}),
        ("elsewhere", set()),
    ):
        assert {b for b in names if reached("api", b, next(iter(BY_SERVICE[b].ports)), namespace(where))} == open_to


def anywhere() -> dict[str, dict[str, Any]]:
    """The policies that let somebody out to any address."""
    out = {it["metadata"]["name"]: it["spec"] for it in POLICIES if it["spec"].get("egress")}
    return {name: spec for name, spec in out.items() if any("to" not in rule for rule in spec["egress"])}


def test_names_are_asked_for_wherever_they_are_told() -> None:
    """By ports alone: a resolver may be a pod of any label, or the node itself; nothing else is so open."""
    assert anywhere().keys() == {"names", "cluster"}
    (rule,) = anywhere()["names"]["egress"]
    assert {(it["protocol"], it["port"]) for it in rule["ports"]} == set(product(("UDP", "TCP"), (53, 5353)))


def test_the_api_server_is_within_the_controllers_reach_alone() -> None:
    """No label names it: that policy names ports, and one Deployment's pods."""
    policy = anywhere()["cluster"]
    assert [one.service for one in WORKLOADS if manifests.selects(policy["podSelector"], one.labels)] == ["controller"]
    assert {it["port"] for rule in policy["egress"] for it in rule["ports"]} == {443, 6443, 8443, 16443}
    assert load({}).kubernetes_api.startswith("https://")
