"""The Celery app. `celery -A echo_tasks …` finds it here."""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import Celery, signals

from echo_tasks import logs, transport

transport.install()

# Flower's own default is every interface; a variable that is set already wins.
os.environ.setdefault("FLOWER_ADDRESS", "127.0.0.1")

app = Celery(
    "echo_tasks",
    config_source="echo_tasks.celeryconfig",
    include=["echo_tasks.tasks"],
    set_as_current=False,
)

# Named, not imported: only a worker resolves the name, so that the API and Flower load no torch.
app.steps["worker"].add("workers.runtime:Runtime")
app.steps["consumer"].update(
    {"workers.visibility:Visibility", "workers.watchdog:Watchdog", "workers.farewell:Farewell"}
)


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _log_in_our_form(loglevel: int | None = None, **_: Any) -> None:
    """Celery's own default level is WARNING: any other was asked for on the command line, and wins."""
    logs.configure(loglevel if loglevel != logging.WARNING else None)
