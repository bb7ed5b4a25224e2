"""gunicorn's configuration: `gunicorn -c python:echo_api.server 'echo_api:create_app()'`.

One process of greenlets: a waiting request or an idle event stream costs it a few kilobytes.
"""

from typing import Any

from echo_tasks import limits, logs
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


def post_worker_init(worker: Any) -> None:
    """Log as the rest of the farm does, and start what runs beside the requests."""
    logs.configure()
    worker.wsgi.extensions["farm"].start()
