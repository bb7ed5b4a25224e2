"""Structured logs: one event a line, for our own loggers and for Celery's, Flower's and gunicorn's.

What a job asks and is answered is in none of them, unless LOG_TEXT says so, nor is a password of a URL.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import structlog

from echo_tasks.settings import current, redacted

Fields = Callable[[], Mapping[str, str]]

_sources: list[Fields] = []


def _add_sources(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for source in _sources:
        event.update(source())
    return event


def _add_task(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Celery's own words about a task name it by its message's id, which is the job's and the step."""
    told = getattr(event.get("_record"), "data", None)
    named = re.fullmatch(r"(\w+)\.(\w+)", str(told.get("id"))) if isinstance(told, dict) else None
    if named:
        event.setdefault("job_id", named[1])
        event.setdefault("step", named[2])
    return event


_STAMP = structlog.processors.TimeStamper(fmt="iso", utc=True)

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    _add_sources,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    _STAMP,
]

_RENDERERS: dict[str, Callable[..., str | bytes]] = {
    "console": structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0, pad_level=False),
    "json": structlog.processors.JSONRenderer(ensure_ascii=False),
}

log = structlog.stdlib.get_logger(__name__)


def get(name: str) -> Any:
    """The logger of a module; its methods take the event's name, then its fields as keywords."""
    return structlog.stdlib.get_logger(name)


def add_fields(source: Fields) -> None:
    """Have every event of this process carry what `source` says at its moment."""
    if source not in _sources:
        _sources.append(source)


def texts(**fields: str) -> dict[str, str]:
    """What a job asks or is answered, for logs and traces, where LOG_TEXT lets it in; else nothing."""
    return fields if current().log_text else {}


def configure(level: int | str | None = None) -> None:
    """Send the whole process's log to stderr, as LOG_FORMAT says. Replaces what was configured before.

    Warnings, and exceptions that nobody catches, are events as others are.
    """
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, _add_task],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _rendered,
            ],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level or current().log_level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda of: _log_uncaught(of.exc_type, of.exc_value, of.exc_traceback)


def say(message: str, *_: Any) -> None:
    """Log an event from a signal's handler, which may have interrupted a thread that holds the log's locks."""
    event: structlog.typing.EventDict = {"event": message, "level": "info", "logger": "celery.worker"}
    event = _STAMP(None, "", _add_sources(None, "", event))
    os.write(sys.__stderr__.fileno(), f"{_rendered(None, '', event)}\n".encode())  # type: ignore[union-attr]


def _rendered(logger: Any, name: str, event: structlog.typing.EventDict) -> str:
    return redacted(str(_RENDERERS[current().log_format](logger, name, event)))


def _log_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return sys.__excepthook__(kind, error or kind(), traceback)
    if not issubclass(kind, SystemExit):
        log.critical("uncaught exception", exc_info=(kind, error, traceback))
