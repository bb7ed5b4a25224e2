"""Every manifest is valid against its schema, without a cluster."""

from __future__ import annotations

import copy
from typing import Any

import kubernetes_validate
import manifests
import pytest
import schemas

VERSIONS = ("1.30", kubernetes_validate.latest_version().rpartition(".")[0])
"""The oldest that has preStop's `sleep` without being asked, and the newest that there is a schema of."""

ADDED = [it for name in manifests.COMPONENTS for it in manifests.added(name)]
OTHERS = [it for it in ADDED if it["apiVersion"].partition("/")[0] in {"keda.sh", "monitoring.coreos.com"}]


def named(document: dict[str, Any]) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


def check(document: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(version: str) -> None:
    """All that Kubernetes knows, with nothing in them that it does not."""
    ours = [*manifests.plain(), *(it for it in ADDED if it not in OTHERS)]
    assert len(ours) > 30
    for document in ours:
        check(document, version)


@pytest.mark.parametrize("document", OTHERS, ids=named)
def test_objects_of_others_are_valid(document: dict[str, Any]) -> None:
    """KEDA's and the Prometheus Operator's, by their definitions."""
    assert schemas.faults(document) == []


def test_there_are_such() -> None:
    """One each."""
    assert sorted(map(named, OTHERS)) == ["ScaledObject cognitive-service", "ServiceMonitor processes"]


def test_what_is_wrong_is_found_out() -> None:
    """The checks themselves tell: an unknown field, a wrong type, a missing one."""
    deployment = copy.deepcopy(manifests.one(manifests.plain(), "Deployment", "api"))
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        check(deployment, VERSIONS[-1])
    scaled = copy.deepcopy(OTHERS[0] if OTHERS[0]["kind"] == "ScaledObject" else OTHERS[1])
    scaled["spec"]["fallback"] = {"failureThreshold": "three", "replica": 2}
    told = "\n".join(schemas.faults(scaled))
    assert "'three' is not of type 'integer'" in told
    assert "'replica' was unexpected" in told
    assert "'replicas' is a required property" in told
