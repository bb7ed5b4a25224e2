"""The metrics that there are: of our code, of our rules, and of the programs that are watched besides."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache

import expressions
from processes import ROOT

PACKAGES = ("echo_tasks", "echo_api", "cache", "workers", "autoscale", "monitoring/exporter")
RECORDS = {rule["record"] for rule in expressions.rules("record")}
OTHERS = ("node_", "process_", "prometheus_")
"""Of prometheus-node-exporter, of the client library in each process, and of Prometheus."""

OF_PROMETHEUS = {"up", "ALERTS"}
DERIVED = ("_total", "_bucket", "_sum", "_count")
"""What is put behind a declared name in the exposition."""


def _patterns() -> Iterator[str]:
    """Every text in our code that may be a metric's name, as a regular expression: a format's field is any word."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield re.escape(node.value)
                elif isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
                    if isinstance(parts[0], str) and len(parts[0]) > 5:  # not a bare field, which any name would match
                        yield "".join(r"[a-z0-9_]+" if part is None else re.escape(str(part)) for part in parts)


@cache
def _declared() -> re.Pattern[str]:
    return re.compile("|".join(sorted({text for text in _patterns() if re.match(r"[a-z][a-z0-9_\[\]+-]+$", text)})))


def is_declared(name: str) -> bool:
    """Whether our code declares a metric of which this is a series."""
    candidates = [name, *(name.removesuffix(end) for end in DERIVED if name.endswith(end))]
    return any(_declared().fullmatch(candidate) for candidate in candidates)


def exists(name: str) -> bool:
    """Whether there is a series of that name: by a record, by another program's prefix, or in our code."""
    return name in RECORDS | OF_PROMETHEUS or name.startswith(OTHERS) or is_declared(name)
