"""gunicorn's configuration: `gunicorn -c python:echo_api.server 'echo_api:create_app()'`.

One process of greenlets: a waiting request or an idle event stream costs it a few kilobytes.
"""

import gc
import os
import subprocess
import sys
from typing import Any

from gunicorn.arbiter import Arbiter

from echo_api.logger import Logger
from echo_tasks import limits, tracing
from echo_tasks.errors import EX_CONFIG
from echo_tasks.settings import current

limits.raise_open_files()

_settings = current()
_host = _settings.api_host

bind = f"[{_host}]:{_settings.api_port}" if ":" in _host else f"{_host}:{_settings.api_port}"
worker_class = "echo_api.gunicorn_worker.Worker"
workers = 1
worker_connections = 20_000
backlog = 2048
keepalive = 30  # that there is one: how long it lasts is CLIENT_IDLE_S
graceful_timeout = 10
limit_request_line = 4096
limit_request_field_size = 8190
limit_request_fields = 64
forwarder_headers = ""  # no client sets SCRIPT_NAME, wherever it comes from
sendfile = False  # it would pass by what bounds a slow reader
control_socket_disable = True
forwarded_allow_ips = ""  # it would believe whoever comes from loopback: whom to believe is the application's business
logger_class = Logger
loglevel = _settings.log_level.lower()


def on_starting(server: Any) -> None:
    """End at once where the API must not start as things are."""
    if subprocess.run([sys.executable, "-m", "echo_api.preflight"]).returncode == EX_CONFIG:
        raise SystemExit(EX_CONFIG)


def post_fork(server: Any, worker: Any) -> None:
    """Collect no garbage while the application is imported: a third of the time would go into that."""
    gc.disable()


def post_worker_init(worker: Any) -> None:
    """Start what runs beside the requests."""
    gc.freeze()  # modules stay: no collection has to visit them
    gc.enable()
    tracing.start(_settings, "echo-api")
    worker.wsgi.extensions["farm"].start(_end_with_the_master)


def _end_with_the_master(_: int) -> None:
    """End at once, with the status that gunicorn takes for its own end; whoever starts it again meets the preflight."""
    os._exit(Arbiter.APP_LOAD_ERROR)


def worker_exit(server: Any, worker: Any) -> None:
    """Send what is left to be sent."""
    tracing.stop()
