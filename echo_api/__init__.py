"""The Flask API: HTTP to the ledger and back. It loads no model and imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_openapi3 import OpenAPI

    from echo_tasks.settings import Settings


def create_app(settings: Settings | None = None) -> OpenAPI:
    """The API as a WSGI application; with no settings given, the process's own."""
    # Imported here, so that gunicorn can read `echo_api.server` before gevent has patched what Flask imports.
    from echo_api.app import build  # noqa: PLC0415

    return build(settings)
