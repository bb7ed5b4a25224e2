"""gunicorn's configuration: `gunicorn -c python:echo_api.server 'echo_api:create_app()'`.

One process of greenlets: a waiting request or an idle event stream costs it a few kilobytes.
"""

import subprocess
import sys
from typing import Any

from echo_api.logger import Logger
from echo_tasks import limits, tracing
from echo_tasks.access import exposure
from echo_tasks.errors import EX_CONFIG
from echo_tasks.settings import current

limits.raise_open_files()

_settings = current()
if exposure.wants_a_key_first(_settings):
    # In a process of its own: what speaks with the broker must not be imported before gevent has patched what that
    # imports. Where the broker is away nobody can tell; the API starts then, and lets nobody in without a key.
    _check = subprocess.run([sys.executable, "-m", "echo_tasks.access", "check"], stderr=subprocess.PIPE, text=True)
    if _check.returncode == EX_CONFIG:
        sys.stderr.write(_check.stderr)
        raise SystemExit(EX_CONFIG)
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


def post_worker_init(worker: Any) -> None:
    """Start what runs beside the requests."""
    tracing.start(_settings, "echo-api")
    worker.wsgi.extensions["farm"].start()


def worker_exit(server: Any, worker: Any) -> None:
    """Send what is left to be sent."""
    tracing.stop()
