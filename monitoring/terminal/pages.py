"""Where there is more to be seen: the web views, and what Prometheus reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from echo_tasks.local import places
from echo_tasks.settings import Settings
from monitoring.terminal.reading import Reading


@dataclass(frozen=True, slots=True)
class Page:
    """A page, whether it answers, and what there is to be said of it."""

    name: str
    url: str
    answers: bool
    note: str = ""

    @property
    def in_words(self) -> str:
        """Where it is, or why it is not there."""
        if self.answers:
            return f"{self.url} ({self.note})" if self.note else self.url
        return self.note or f"no answer at {urlsplit(self.url).netloc}"


def pages(settings: Settings, reading: Reading, prometheus: str) -> list[Page]:
    """The pages of this farm; `prometheus` is why no local Prometheus was started, empty if one was."""
    web: Mapping[str, bool] = {
        **reading.web,
        "API": reading.api is not None,
        "exporter": reading.exporter is not None,
    }
    api = places.api(settings)
    has_prometheus = web.get("Prometheus", False)
    note = prometheus or ("" if has_prometheus else "starting")
    return [
        Page("API docs", f"{api}/openapi/swagger", web["API"]),
        Page("Flower", places.flower(settings), web.get("Flower", False)),
        Page("Prometheus", places.prometheus(settings), has_prometheus, note),
        Page("API metrics", f"{api}/metrics", web["API"]),
        Page("controller", f"{places.controller(settings)}/metrics", web.get("controller", False)),
        Page("exporter", f"{places.exporter(settings)}/metrics", web["exporter"]),
    ]
