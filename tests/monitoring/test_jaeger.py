"""Jaeger's configuration: whole in itself, with the ports that the farm's documents name, and with bounds."""

from __future__ import annotations

from typing import Any

import fast_yaml
import pytest
from processes import ROOT

LISTENS = "${env:JAEGER_LISTEN_HOST:-localhost}"


@pytest.fixture(scope="module")
def config() -> Any:
    return fast_yaml.load((ROOT / "monitoring/jaeger/config.yaml").read_text())


def test_what_pipelines_name_is_there(config: Any) -> None:
    """Receivers, processors and exporters, each defined and used, and the same of extensions."""
    (pipeline,) = config["service"]["pipelines"].values()
    for part in ("receivers", "processors", "exporters"):
        assert set(pipeline[part]) == set(config[part])
    assert set(config["service"]["extensions"]) == set(config["extensions"])
    assert pipeline["processors"][0] == "memory_limiter"  # what it refuses is to cost nothing before


def test_what_is_written_is_what_is_read(config: Any) -> None:
    """One storage, in memory, with a bound."""
    storages = config["extensions"]["jaeger_storage"]["backends"]
    written = config["exporters"]["jaeger_storage_exporter"]["trace_storage"]
    assert config["extensions"]["jaeger_query"]["storage"]["traces"] == written
    assert set(storages) == {written}
    assert 0 < storages[written]["memory"]["max_traces"] <= 100_000
    assert 0 < config["processors"]["memory_limiter"]["limit_mib"] <= 1024


def test_it_listens_where_it_is_looked_for(config: Any) -> None:
    """OTLP on its two ports and the pages on theirs, on loopback unless the environment says otherwise."""
    protocols = config["receivers"]["otlp"]["protocols"]
    assert protocols["grpc"]["endpoint"] == f"{LISTENS}:4317"
    assert protocols["http"]["endpoint"] == f"{LISTENS}:4318"
    assert config["extensions"]["jaeger_query"]["http"]["endpoint"] == f"{LISTENS}:16686"
    text = (ROOT / "monitoring/jaeger/config.yaml").read_text()
    assert text.count("endpoint:") == text.count(f'endpoint: "{LISTENS}:')
