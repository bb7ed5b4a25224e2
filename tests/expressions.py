"""Every PromQL expression under `monitoring/`, and the names in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fast_yaml
import promql_parser
from processes import ROOT

PROMETHEUS = ROOT / "monitoring" / "prometheus"
CONFIGURATION = PROMETHEUS / "prometheus.yml"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "monitoring" / "grafana" / "provisioning" / "dashboards").glob("*.json"))


@dataclass(frozen=True)
class Expression:
    """What is asked, and where: a rule's name, or a dashboard's panel."""

    where: str
    text: str


def rules(kind: str) -> list[dict[str, Any]]:
    """All rules of a kind, `alert` or `record`."""
    return [
        rule
        for path in RULES
        for group in fast_yaml.load(path.read_text())["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


def dashboards() -> dict[str, dict[str, Any]]:
    """Grafana's dashboards by their files' names."""
    return {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}


def of_rules(kind: str) -> list[Expression]:
    return [Expression(rule[kind], rule["expr"]) for rule in rules(kind)]


def of_dashboards() -> list[Expression]:
    """Every query of every panel and mark, with the variables as Grafana puts them in where all is chosen."""
    return [Expression(where, _chosen(text)) for where, text in _asked()]


def of_variables() -> list[Expression]:
    """What the dashboards' choices are read from: the series of `label_values(series, label)`."""
    offered = ((name, one) for name, board in dashboards().items() for one in board["templating"]["list"])
    return [
        Expression(f"{name}: ${one['name']}", one["definition"].removeprefix("label_values(").rpartition(",")[0])
        for name, one in offered
        if one["type"] == "query"
    ]


def everything() -> list[Expression]:
    return [*of_rules("alert"), *of_rules("record"), *of_dashboards(), *of_variables()]


def names(text: str) -> set[str]:
    """The series that an expression selects, by name; raises ValueError for what is no PromQL."""
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            assert node.name, f"a selector without a name: {text}"
            found.add(node.name)
        return True

    promql_parser.walk(promql_parser.parse(text), visit)
    return found


def variables(text: str) -> set[str]:
    """The variables in a query as it stands in a dashboard, other than Grafana's own."""
    return {name for name in re.findall(r"\$\{?(\w+)", text) if not name.startswith("__")}


def raw() -> list[Expression]:
    """The dashboards' queries as they stand there."""
    return [Expression(where, text) for where, text in _asked()]


def _asked() -> Iterator[tuple[str, str]]:
    for name, board in dashboards().items():
        for mark in board["annotations"]["list"]:
            yield f"{name}: mark {mark['name']}", mark["expr"]
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                yield f"{name}: {panel['title']}, {target['legendFormat']}", target["expr"]


def _chosen(text: str) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda match: "1m" if match[1] == "__rate_interval" else ".*", text)


def read_tests(path: Path) -> list[dict[str, Any]]:
    """The cases of a file of promtool's."""
    return fast_yaml.load(path.read_text())["tests"]  # type: ignore[no-any-return]
