"""An exporter's process, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from processes import PYTHON, Running, Site, asked, until
from prometheus_client.parser import text_string_to_metric_families


@dataclass
class Exporting:
    """Where it runs; what it cannot be asked is None or empty."""

    running: Running
    url: str

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body; status 0 when it does not answer."""
        return asked(self.url + path)

    def health(self) -> int:
        return self.get("/health")[0]

    def targets(self) -> Any:
        return json.loads(self.get("/targets")[1])

    def samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values of all samples of a name."""
        families = text_string_to_metric_families(self.get("/metrics")[1].decode())
        return [(one.labels, one.value) for family in families for one in family.samples if one.name == name]

    def by(self, name: str, *labels: str) -> dict[Any, float]:
        """The sums of a metric by some of its labels: by the value of one, or the values of several; none are left out
        but zeros."""
        sums: dict[Any, float] = {}
        for told, value in self.samples(name):
            key = told[labels[0]] if len(labels) == 1 else tuple(told[label] for label in labels)
            sums[key] = sums.get(key, 0) + value
        return {key: value for key, value in sums.items() if value}


@contextmanager
def exporter(site: Site) -> Iterator[Exporting]:
    """An exporter of a site, answering until the block ends."""
    with site.run("exporter", PYTHON, "-m", "monitoring.exporter") as running:
        exporting = Exporting(running, f"http://127.0.0.1:{site.env['EXPORTER_PORT']}")
        until(lambda: exporting.get("/metrics")[0] == 200 or running.process.poll() is not None, "the exporter answers")
        assert running.process.poll() is None, running.text()
        yield exporting
