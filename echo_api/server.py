"""gunicorn's configuration: `gunicorn -c python:echo_api.server 'echo_api:create_app()'`.

One process of greenlets: a waiting request or an idle event stream costs it a few kilobytes.
"""

import os
from typing import Any

from gunicorn.arbiter import Arbiter

from echo_api.logger import Logger
from echo_tasks import connections, guard, limits, tracing
from echo_tasks.settings import current

limits.raise_open_files()

_settings = current()
_host = _settings.api_host

bind = f"[{_host}]:{_settings.api_port}" if ":" in _host else f"{_host}:{_settings.api_port}"
worker_class = "gevent"
workers = 1
worker_connections = 20_000
backlog = 2048
keepalive = 30
graceful_timeout = 10
limit_request_line = 4096
limit_request_field_size = 8190
control_socket_disable = True
logger_class = Logger
loglevel = _settings.log_level.lower()


def on_starting(server: Any) -> None:
    """End at once where the broker's keys are a newer release's."""
    with connections.impatient(_settings.broker) as client:
        guard.check(client)


def post_worker_init(worker: Any) -> None:
    """Start what runs beside the requests."""
    tracing.start(_settings, "echo-api")
    farm = worker.wsgi.extensions["farm"]
    farm.start()
    guard.watch(farm.broker, lambda _: os._exit(Arbiter.APP_LOAD_ERROR))  # which gunicorn takes for its own end


def worker_exit(server: Any, worker: Any) -> None:
    """Send what is left to be sent."""
    tracing.stop()
