"""Every metric that a rule or a dashboard names exists: in our code, by a rule, or by a program that is not ours."""

from __future__ import annotations

import expressions
import pytest
from declared import exists, is_declared

NAMED = sorted({name for asked in expressions.everything() for name in expressions.names(asked.text)})


@pytest.mark.parametrize("name", NAMED)
def test_every_metric_that_is_named_exists(name: str) -> None:
    """By a record, by another program's prefix, or in our code."""
    assert exists(name)


def test_a_metric_that_nobody_declares_is_found_out() -> None:
    """The check itself tells names apart."""
    assert is_declared("echo_engine_step_seconds_bucket")
    assert not is_declared("flask_http_request_duration_seconds_bucket")
    assert not is_declared("echo_engine_step_second")


@pytest.mark.parametrize("text", ["sum(rate(x[5m])", "a +", "histogram_quantile(0.5)"])
def test_what_is_no_promql_is_found_out(text: str) -> None:
    """The parser is a real one."""
    with pytest.raises(ValueError, match=r".+"):
        expressions.names(text)
