"""Structured logs: one event a line, for our own loggers and for Celery's, Flower's and gunicorn's."""

from __future__ import annotations

import logging
from typing import Any

import structlog

from echo_tasks.settings import current

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

_RENDERERS: dict[str, structlog.typing.Processor] = {
    "console": structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False),
    "json": structlog.processors.JSONRenderer(ensure_ascii=False),
}


def get(name: str) -> Any:
    """The logger of a module; its methods take the event's name, then its fields as keywords."""
    return structlog.stdlib.get_logger(name)


def configure(level: int | str | None = None) -> None:
    """Send the whole process's log to stderr, as LOG_FORMAT says. Replaces what was configured before."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _RENDERERS[current().log_format],
            ],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level or current().log_level)
