"""Probes: alive, ready, and in what health; and this process's metrics."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from redis.exceptions import RedisError

from echo_api import health_bodies as bodies
from echo_api import needs
from echo_api.callers import caller
from echo_api.farm import Farm, farm
from echo_tasks import __version__, exposition, keys, schema
from echo_tasks.errors import BrokerUnavailable

api = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")])


@api.get("/livez", openapi_extensions=needs.NOTHING, responses={"200": bodies.Alive})
def livez() -> Any:
    """Alive: this process answers. It asks nothing of others."""
    return {"status": "ok"}


@api.get(
    "/readyz", openapi_extensions=needs.MORE_FOR_ADMIN, responses={"200": bodies.Readiness, "503": bodies.Readiness}
)
def readyz() -> Any:
    """Ready: the broker takes writes, the store answers, every queue has a live worker that takes work; else 503."""
    checks = _checks(farm())
    ready = all(check["ok"] for check in checks.values())
    told = checks if caller().may("admin") else {name: {"ok": check["ok"]} for name, check in checks.items()}
    return {"status": "ready" if ready else "not ready", "checks": told}, 200 if ready else 503


@api.get("/health", openapi_extensions=needs.MORE_FOR_ADMIN, responses={"200": bodies.Health, "503": bodies.Health})
def health() -> Any:
    """The farm's health, with its workers and open jobs; where keys are needed, those are for scope `admin` alone."""
    checks = _checks(farm())
    healthy = all(check["ok"] for check in checks.values())
    status = "healthy" if healthy else "unhealthy"
    if not caller().may("admin"):
        return {"status": status}, 200 if healthy else 503
    broker_ok = checks["broker"]["ok"]
    return {
        "status": status,
        "timestamp": datetime.now(UTC).isoformat(),
        "version": __version__,
        "schema": {"broker": schema.stored(farm().broker).number if broker_ok else None, "reads": schema.LATEST},
        "checks": checks,
        "open_jobs": farm().ledger.open_jobs() if broker_ok else None,
        "workers": [worker.model_dump() for worker in farm().registry.live()] if broker_ok else [],
    }, 200 if healthy else 503


@api.get(
    "/metrics",
    openapi_extensions=needs.NOTHING,
    responses={"200": {"description": "as text", "content": {"text/plain": {}}}},
)
def metrics() -> Response:
    """This process's metrics, and the farm's sessions, as Prometheus reads them."""
    return Response(exposition.text(farm().metrics), content_type=exposition.CONTENT_TYPE)


def _checks(farm: Farm) -> dict[str, dict[str, Any]]:
    broker = _timed(lambda: _writes(farm))
    workers = _timed(lambda: _covered(farm)) if broker["ok"] else {"ok": False, "detail": "the broker knows", "ms": 0}
    return {"broker": broker, "store": _timed(lambda: _pings(farm)), "workers": workers}


def _writes(farm: Farm) -> str:
    farm.broker.set(keys.PROBE, "", ex=1)  # a read-only or full one would answer a ping
    return "takes writes"


def _pings(farm: Farm) -> str:
    farm.store.ping()
    return "answers"


def _covered(farm: Farm) -> str:
    workers = farm.registry.live()
    served = {queue for worker in workers if not worker.draining for queue in worker.queues}
    if missing := [queue for step in keys.STEPS if (queue := keys.queue(step)) not in served]:
        raise LookupError(f"no live worker for {', '.join(missing)}")
    return f"{len(workers)} live"


def _timed(check: Callable[[], str]) -> dict[str, Any]:
    started = time.monotonic()
    try:
        ok, detail = True, check()
    except (RedisError, BrokerUnavailable, LookupError) as error:
        ok, detail = False, str(error)
    return {"ok": ok, "detail": detail, "ms": round(1000 * (time.monotonic() - started), 1)}
