"""The application factory: it wires the farm's parts to the routes."""

from __future__ import annotations

from flask_openapi3 import Info, OpenAPI

from echo_api import (
    activity,
    cache_routes,
    cognitive,
    cors,
    dead_letters,
    freshness,
    gate,
    headers,
    health,
    jobs,
    memories,
    metering,
    needs,
    problems,
    scaling,
    services,
    sessions,
    spans,
)
from echo_api.converters import CacheKey, JobId, SessionId
from echo_api.documentation import Api
from echo_api.farm import Farm
from echo_api.proxies import TrustedProxies
from echo_tasks import __version__
from echo_tasks.settings import Settings, current

MAX_BODY_BYTES = 1024 * 1024

_DESCRIPTION = """Cognitive jobs for RWKV-7 language models: submit, wait, stream, cancel.
Errors are `application/problem+json` (RFC 9457)."""


def build(settings: Settings | None) -> OpenAPI:
    """Wire the application that `echo_api.create_app` promises."""
    app = Api(
        "echo_api",
        info=Info(title="Deep Tree Echo", version=__version__, description=_DESCRIPTION),
        validation_error_callback=problems.invalid,
        doc_prefix="/openapi",
        security_schemes=needs.SCHEMES,
    )
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False  # keys of the cache may have any characters
    app.url_map.converters |= {"job_id": JobId, "session_id": SessionId, "cache_key": CacheKey}
    settings = settings or current()
    app.extensions["farm"] = Farm.connect(settings)
    app.wsgi_app = TrustedProxies(app.wsgi_app, settings.trusted_proxies)  # type: ignore[method-assign]
    headers.install(app)
    spans.install(app)
    metering.install(app)
    cors.install(app)
    problems.install(app)
    freshness.install(app)
    for part in (jobs, dead_letters, cognitive, sessions, activity, memories, cache_routes, services, scaling, health):
        app.register_api(part.api)
    gate.install(app)
    return app
