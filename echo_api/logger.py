"""gunicorn's logger: its events take the way of all others."""

from __future__ import annotations

from typing import Any

from gunicorn import glogging

from echo_tasks import logs


class Logger(glogging.Logger):  # type: ignore[misc]
    """What gunicorn's master and its workers say, in our form."""

    def setup(self, cfg: Any) -> None:
        """Take the handlers away that gunicorn gives its two loggers."""
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers[:] = []
            logger.propagate = True
        logs.configure()
