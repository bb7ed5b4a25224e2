"""The whole of the settings: its rooms side by side."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict

from echo_tasks.settings.access import Access
from echo_tasks.settings.caching import Caching
from echo_tasks.settings.clients import Clients
from echo_tasks.settings.engine import Engine
from echo_tasks.settings.flower import Flower
from echo_tasks.settings.http import Http
from echo_tasks.settings.jobs import Jobs
from echo_tasks.settings.observing import Observing
from echo_tasks.settings.scaling import Scaling
from echo_tasks.settings.servers import Servers


class Settings(Observing, Caching, Jobs, Engine, Scaling, Flower, Access, Clients, Http, Servers):
    """The settings by their variables' names in lower case; `description` is what the README prints."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def disk_cache(self) -> Path:
        """Folder of the cache tier that outlives the farm; all processes on this machine share it."""
        return self.echo_var / "cache"

    @property
    def flower_history(self) -> Path:
        """File of what Flower knows."""
        return self.flower_db or self.echo_var / "flower" / "history"
