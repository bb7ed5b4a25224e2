"""A real Prometheus with our configuration, on a site's ports and at a test's pace."""

from __future__ import annotations

import json
import math
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import expressions
import fast_yaml
import promtool
import pytest
import yaml
from processes import Running, Site, until

needed = pytest.mark.skipif(
    not all(map(shutil.which, ("prometheus", "promtool", "prometheus-node-exporter"))),
    reason="prometheus and prometheus-node-exporter are not installed (apt)",
)

Samples = list[dict[str, Any]]


@dataclass(frozen=True)
class Prometheus:
    """The server's API."""

    port: int
    running: Running

    def get(self, path: str, **arguments: str) -> Any:
        """The data of an answer; raises AssertionError for an error."""
        query = urllib.parse.urlencode(arguments)
        request = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{path} {arguments}: {error.read().decode()}") from None

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    def query(self, expr: str) -> Samples:
        """The samples of an instant vector now; of a scalar, its one."""
        data = self.get("query", query=expr)
        found: Samples = [{"metric": {}, "value": data["result"]}] if data["resultType"] == "scalar" else data["result"]
        return found

    def has(self, expr: str) -> bool:
        """Whether an expression has a value now that is a number."""
        return any(not math.isnan(float(sample["value"][1])) for sample in self.query(expr))


def configuration(folder: Path, addresses: Mapping[str, str]) -> Path:
    """Our configuration and rules in a folder of their own, with other addresses, at a scrape a second."""
    copy = folder / "prometheus"
    shutil.copytree(expressions.PROMETHEUS, copy)
    text = (copy / "prometheus.yml").read_text()
    for ours, theirs in addresses.items():
        assert ours in text, ours
        text = text.replace(ours, theirs)
    settings = fast_yaml.load(text)
    settings["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for job in settings["scrape_configs"]:
        for discovery in job.get("http_sd_configs", []):
            discovery["refresh_interval"] = "1s"
    (copy / "prometheus.yml").write_text(yaml.safe_dump(settings))
    return copy / "prometheus.yml"


def backfill(data: Path, series: Mapping[str, float], moments: Iterable[float]) -> None:
    """Blocks of the past: each series with its value, a little up and down, at each moment."""
    text = data.parent / "past.txt"
    at = sorted(moments)
    told = ((name, value * (1 + 0.05 * math.sin(moment)), moment) for name, value in series.items() for moment in at)
    lines = [f"{name} {value} {moment:.3f}" for name, value, moment in told]
    text.write_text("\n".join([*lines, "# EOF", ""]))
    done = promtool.promtool("tsdb", "create-blocks-from", "openmetrics", text, data)
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def prometheus(site: Site, config: Path, data: Path, port: int) -> Iterator[Prometheus]:
    """The server, ready to answer."""
    command = ("prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}")
    with site.run("prometheus", *command, f"--web.listen-address=127.0.0.1:{port}") as running:
        server = Prometheus(port, running)
        until(lambda: server.is_ready() or running.process.poll() is not None, "Prometheus is ready")
        assert running.process.poll() is None, running.text()
        yield server


def hours_before(now: float, days: int) -> Iterator[float]:
    """Every half minute of the two hours around this time of the day, on so many days before."""
    for day in range(1, days + 1):
        middle = now - day * 86400
        yield from (middle + offset for offset in range(-3600, 3601, 30))
