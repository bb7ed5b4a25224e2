"""The Celery app. `celery -A echo_tasks …` finds it here."""

from __future__ import annotations

import gc
import logging
import sys
import warnings
from collections.abc import Mapping
from typing import Any

from celery import Celery, signals
from celery.exceptions import CPendingDeprecationWarning

from echo_tasks import commands, logs, transport
from echo_tasks.settings import current

transport.install()

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

app.user_options["preload"].add(commands.preparation())


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _log_in_our_form(loglevel: int | None = None, **_: Any) -> None:
    """Celery's own default level is WARNING: any other was asked for on the command line, and wins."""
    logs.configure(loglevel if loglevel != logging.WARNING else None)


@signals.import_modules.connect  # type: ignore[untyped-decorator]
def _log_in_our_form_from_the_start(**_: Any) -> None:
    """Flower sends no other signal; a worker's level comes with the one above."""
    logs.configure()
    logging.getLogger("flower.command").setLevel(logging.INFO)  # below, it tells its secrets


@signals.celeryd_init.connect  # type: ignore[untyped-decorator]
def _begin_worker(sender: str, instance: Any, options: Mapping[str, Any], **_: Any) -> None:
    """Have a worker's log name it; where its lines are for machines, nothing else comes out of it.

    Its slots are its own to choose (`chooses_slots`) where neither a setting nor the command line says how many.
    """
    instance.chooses_slots = not (current().echo_slots or options.get("concurrency") or options.get("autoscale"))
    gc.disable()  # a third of the time of importing torch would go into collections; the boot step enables it again
    logs.add_fields(lambda: {"worker": sender})
    if current().log_format == "json":
        instance.quiet = True  # no banner
        sys.modules[type(instance).__module__].safe_say = logs.say  # type: ignore[attr-defined]


@signals.celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _be_quiet_of_lost_connections(**_: Any) -> None:
    """At each Celery asks whether to cancel what runs: no, for whoever holds a lease goes on. Logging is set up now."""
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
