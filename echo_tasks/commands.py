"""What each command of `celery -A echo_tasks …` does before all else."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

import click

from echo_tasks.settings import Settings, current

_OF_CELERY = "CELERY_BROKER_URL"


def preparation() -> click.Option:
    """An option of every command, for the sake of its callback: Click calls that first, whether it is given or not."""
    return click.Option(["--echo"], is_flag=True, hidden=True, is_eager=True, expose_value=False, callback=_prepare)


def _prepare(context: click.Context, _: click.Parameter, __: bool) -> None:
    """Read the settings, so that a bad one is told of in a line, and not by whoever stumbles over it."""
    settings = current()
    if os.environ.get(_OF_CELERY, "").strip() == settings.broker_url:
        del os.environ[_OF_CELERY]  # Celery has it from BROKER_URL; to it, that would be all there is to know
    if context.info_name == "flower":
        prepare_flower(settings, os.environ)


def prepare_flower(settings: Settings, environ: MutableMapping[str, str]) -> None:
    """Have Flower read `flowerconfig.py`, unless another file was chosen; what is empty counts as unset for it, too."""
    for name in [name for name, value in environ.items() if name.startswith("FLOWER_") and not value.strip()]:
        del environ[name]
    environ.setdefault("FLOWER_ADDRESS", settings.flower_address)  # whatever file it is: its own is every interface
    environ.setdefault("FLOWER_CONF", str(Path(__file__).with_name("flowerconfig.py")))
