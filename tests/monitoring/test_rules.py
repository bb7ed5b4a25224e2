"""The configuration and the rules: valid, each alert tested both ways, each record tested and of use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import expressions
import fast_yaml
import promtool
import pytest
import yaml

ALERTS = {rule["alert"]: rule for rule in expressions.rules("alert")}
RECORDS = {rule["record"] for rule in expressions.rules("record")}
OF_ALERTS = [path for path in expressions.UNIT_TESTS if "ALERTS" in path.read_text()]
WITHOUT_ALERTS = [path for path in expressions.UNIT_TESTS if path not in OF_ALERTS]
OF_THE_DOCUMENT = {
    "DeepEchoServiceDown",
    "HighErrorRate",
    "HighResponseTime",
    "HighCPUUsage",
    "HighMemoryUsage",
    "LowCacheHitRate",
    "RedisDown",
    "LoadBalancerUnhealthy",
    "HighCognitiveProcessingTime",
    "CognitiveServiceOverloaded",
    "DiskSpaceLow",
    "DiskSpaceCritical",
    "DatabaseConnectionsHigh",
    "ContainerKilled",
    "ContainerCPUThrottled",
}


def cases() -> list[tuple[str, Any]]:
    """Each expression that a unit test asks, with the samples that it expects."""
    return [
        (asked["expr"], asked.get("exp_samples") or [])
        for path in expressions.UNIT_TESTS
        for test in expressions.read_tests(path)
        for asked in test["promql_expr_test"]
    ]


def about(expr: str) -> set[str]:
    """The alerts that an expression of a unit test is about."""
    match = re.match(r'ALERTS\{alertname=~?"([^"]+)"', expr)
    return {name for name in ALERTS if match and re.fullmatch(match[1], name)}


@promtool.needed
def test_the_configuration_is_valid() -> None:
    """`promtool check config` finds no fault in it and in the rules that it names, all of them."""
    done = promtool.promtool("check", "config", expressions.CONFIGURATION)
    assert done.returncode == 0, done.stdout + done.stderr
    for path in expressions.RULES:
        assert f"{path.name}\n  SUCCESS" in done.stdout


@promtool.needed
def test_it_is_valid_from_wherever_prometheus_is_started(tmp_path: Path) -> None:
    """The rules are found beside the configuration, not in the folder that somebody is in."""
    done = promtool.promtool("check", "config", expressions.CONFIGURATION, cwd=tmp_path)
    assert f"{len(expressions.RULES)} rule files found" in done.stdout


@promtool.needed
@pytest.mark.parametrize("path", WITHOUT_ALERTS, ids=lambda path: path.stem)
def test_the_unit_tests_pass(path: Path) -> None:
    """`promtool test rules` finds that records are what they say."""
    done = promtool.promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_of_the_original_document_is_there() -> None:
    """All fifteen, under their names."""
    assert set(ALERTS) >= OF_THE_DOCUMENT


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_test_that_fires_and_one_that_is_quiet(name: str) -> None:
    """One expects it among the firing; another, in a case of its own, never does."""
    firing, quiet = set(), set()
    for path in expressions.UNIT_TESTS:
        for test in expressions.read_tests(path):
            asked = [(one["expr"], one.get("exp_samples") or []) for one in test["promql_expr_test"]]
            ours = [samples for expr, samples in asked if name in about(expr)]
            labels = [sample["labels"] for samples in ours for sample in samples]
            fires = any(f'alertname="{name}"' in label and 'alertstate="firing"' in label for label in labels)
            (firing if fires else quiet).update({test["name"]} if ours else ())
    assert firing, "no test in which it fires"
    assert quiet, "no test in which it stays quiet throughout"


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_is_the_matter_and_what_to_do(name: str) -> None:
    """Severity, summary, a description with the value, and a runbook."""
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    notes = rule["annotations"]
    assert set(notes) == {"summary", "description", "runbook"}
    assert all(text.strip() for text in notes.values())
    assert "$value" in notes["description"]


@promtool.needed
@pytest.mark.parametrize("path", OF_ALERTS, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_quiet_as_they_should_with_annotations(path: Path, tmp_path: Path) -> None:
    """The unit tests pass; what an operator reads has values and labels in it, and no remains of its template.

    promtool prints an alert with its annotations where a test expects something else. So each firing case is asked for
    an alert that is not there, and these are all the faults that there may be: some files take seconds to evaluate.
    """
    text = re.sub(r"values: (0x\d+)(?=[}\n])", r"values: '\1'", path.read_text())  # else 0x20 were a hexadecimal number
    written = fast_yaml.load(text)
    written["rule_files"] = [str((path.parent / name).resolve()) for name in written["rule_files"]]
    asked: list[str] = []
    for test in written["tests"]:
        assert "alert_rule_test" not in test
        firing = [one for one in test["promql_expr_test"] if one.get("exp_samples")]
        named = {name: one["eval_time"] for one in firing for name in about(one["expr"])}
        expected = [{"exp_labels": {"never": "this"}}]
        test["alert_rule_test"] = [
            {"alertname": name, "eval_time": at, "exp_alerts": expected} for name, at in named.items()
        ]
        asked += named
    assert asked
    asking = tmp_path / "asking.yml"
    asking.write_text(yaml.safe_dump(written))
    told = promtool.promtool("test", "rules", asking)
    output = told.stdout + told.stderr
    faults = re.findall(r"^ {4}(?! |name: )(.+)$", output, re.M)
    of_alerts = [match[1] for fault in faults if (match := re.match(r"alertname: (\w+), time: ", fault))]
    assert len(faults) == len(of_alerts), f"a unit test fails: {output}"
    assert sorted(of_alerts) == sorted(asked), output
    for name in asked:
        assert re.search(rf'got:\[.*?alertname="{name}".*?summary="[^"]+', output, re.S), f"{name}: {output}"
    assert not re.search(r"%!|<no value>|<error|NaN|\{\{|  of |=\" |\"\"", output), output


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_every_record_has_a_test(name: str) -> None:
    """Some unit test asks for it by its name and expects a value."""
    assert any(samples and name in expressions.names(expr) for expr, samples in cases())


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_every_record_is_of_use(name: str) -> None:
    """An alert, a dashboard or another record asks for it."""
    used = (asked for asked in expressions.everything() if asked.where != name)
    assert any(name in expressions.names(asked.text) for asked in used)


def test_prometheus_finds_everything_on_this_machine_by_default() -> None:
    """Loopback addresses alone, a job a kind of process, rules beside the configuration."""
    configuration = fast_yaml.load(expressions.CONFIGURATION.read_text())
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}
    assert set(jobs) == {"prometheus", "node", "echo-api", "celery-exporter", "echo-controller", "echo-worker"}
    addresses = re.findall(r"[\w.]+:\d+", expressions.CONFIGURATION.read_text())
    assert addresses
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert [str(path.relative_to(expressions.PROMETHEUS)) for path in expressions.RULES]
    assert configuration["rule_files"] == ["rules/*.yml"]
