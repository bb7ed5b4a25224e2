"""Schemas of objects that Kubernetes itself does not know, strict: what they do not name is not allowed."""

from __future__ import annotations

import importlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema

ADDED_IN_KEDA_2_17 = {"Fallback": {"behavior": {"enum": ["static", "currentReplicas", "currentReplicasIfHigher"]}}}
"""For Python 3.11 there are models of KEDA 2.16 alone."""

_MODELS = {
    ("keda.sh/v1alpha1", "ScaledObject"): "cloudcoil.models.keda.v1alpha1",
    ("monitoring.coreos.com/v1", "ServiceMonitor"): "cloudcoil.models.prometheus_operator.v1",
}
"""The modules of these models are imported when they are needed: the second takes seconds."""

_OF_CLOUD_RUN = {
    ("serving.knative.dev/v1", "Service"): "Service",
    ("run.googleapis.com/v1", "WorkerPool"): "WorkerPool",
}


def faults(document: dict[str, Any]) -> list[str]:
    """What is wrong with an object of KEDA, of the Prometheus Operator, or of Cloud Run."""
    kind = (document["apiVersion"], document["kind"])
    schema = _of_model(kind) if kind in _MODELS else _of_cloud_run(_OF_CLOUD_RUN[kind])
    return [f"{error.json_path}: {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(document)]


@cache
def cloud_run() -> dict[str, Any]:
    """The kinds of Cloud Run's API as Google describes them."""
    text = (files("googleapiclient") / "discovery_cache" / "documents" / "run.v1.json").read_text()
    described: dict[str, Any] = json.loads(text)["schemas"]
    return described


@cache
def _of_model(kind: tuple[str, str]) -> dict[str, Any]:
    schema = getattr(importlib.import_module(_MODELS[kind]), kind[1]).model_json_schema(by_alias=True)
    for name, properties in ADDED_IN_KEDA_2_17.items():
        if name in schema["$defs"]:
            schema["$defs"][name]["properties"] |= properties
    return _strict(schema)


@cache
def _of_cloud_run(name: str) -> dict[str, Any]:
    """Google's own description of its API, which its client library carries."""
    definitions = json.loads(json.dumps(cloud_run()).replace('"$ref": "', '"$ref": "#/definitions/'))
    return _strict({"$ref": f"#/definitions/{name}", "definitions": definitions})


def _strict(schema: Any) -> Any:
    """The schema, with every object that names its properties allowing these alone, and no null in a thing's place."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if len(given := [part for part in schema.get("anyOf", []) if part != {"type": "null"}]) == 1:
        return _strict(given[0])
    strict = {key: _strict(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and "additionalProperties" not in schema:
        strict["additionalProperties"] = False
    return strict
