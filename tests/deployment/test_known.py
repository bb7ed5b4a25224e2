"""The list by which the deployment's files are checked tells what exists from what does not."""

from __future__ import annotations

import known
import pytest


@pytest.mark.parametrize("service", ["worker", "controller", "exporter"])
def test_processes_answer_for_metrics_and_health(service: str) -> None:
    """Their paths are read from the code that serves them."""
    assert {"/metrics", "/health"} <= known.paths(service)


def test_paths_of_the_api_are_its_routes() -> None:
    """The probes are there; one that the reference system had is not."""
    assert {"/livez", "/readyz", "/health", "/metrics", "/api/jobs"} <= known.paths("api")
    assert "/lb/health" not in known.paths("api")


def test_names_that_do_not_exist_are_found_out() -> None:
    """Settings by value or by file, and metrics."""
    assert known.is_setting("BROKER_URL")
    assert known.is_setting("FLOWER_OAUTH2_SECRET_FILE")
    assert not known.is_setting("REDIS_URL")
    assert known.is_metric("echo_engine_step_seconds_bucket")
    assert not known.is_metric("deep_echo_no_such_metric")
