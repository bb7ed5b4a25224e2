"""The cache over HTTP: values of clients, tags, levels, and what it all comes to."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import psutil
from flask import request
from flask_openapi3 import APIBlueprint
from flask_openapi3 import Tag as ApiTag
from flask_openapi3.types import ResponseDict
from pydantic import TypeAdapter, ValidationError

from cache.tier import Level
from echo_api import cache_bodies as bodies
from echo_api import cache_stats, needs, problems, requests
from echo_api.farm import farm
from echo_api.problems import RequestProblem
from echo_api.values import MOST_NESTED, nesting

MOST_BULK_BYTES = 16 * 1024 * 1024
_ROOM_FOR_THE_REST_BYTES = 64 * 1024

_TAGS: TypeAdapter[list[str]] = TypeAdapter(bodies.TagList)

api = APIBlueprint(
    "cache", __name__, url_prefix="/api/cache", abp_tags=[ApiTag(name="cache")], abp_responses=problems.INVALID
)

_NOT_FOUND: ResponseDict = {"404": problems.documented("no such key")}


@api.before_request
def _allow_what_is_large() -> None:
    """A value may be as large as the settings say, whatever is around it; many at once larger still."""
    is_bulk = request.path.endswith("/bulk")
    most = MOST_BULK_BYTES if is_bulk else farm().settings.max_value_size_bytes
    request.max_content_length = most + _ROOM_FOR_THE_REST_BYTES
    if not request.path.endswith("/cleanup"):
        requests.require_json_object()


@api.post("/bulk", security=needs.ADMIN, responses={"200": bodies.BulkDone})
def bulk(body: bodies.Bulk) -> Any:
    """Do up to 1,000 operations in their order."""
    for number, operation in enumerate(body.operations):
        _check_key(operation.key, f"operations.{number}.key")
    contents = [_content(one.value, f"operations.{n}.value") for n, one in enumerate(body.operations)]
    return {"results": [_done(*pair) for pair in zip(body.operations, contents, strict=True)]}


@api.delete("/tags/<cache_key:tags>", security=needs.ADMIN, responses={"200": bodies.Invalidated})
def invalidate(path: bodies.TagsPath) -> Any:
    """Make all void that was kept with one of the tags.

    `deleted_count` is how many keys were kept with them since they were last void, within a percent.
    """
    try:
        tags = _TAGS.validate_python(path.tags.split(","))
    except ValidationError as error:
        raise RequestProblem(422, error.errors()[0]["msg"], field="tags") from None
    return {"tags": tags, "deleted_count": farm().values.invalidate(tags), "timestamp": _now()}


@api.delete("/level/<cache_key:level>", security=needs.ADMIN, responses={"200": bodies.Cleared})
def clear(path: bodies.LevelPath) -> Any:
    """Forget all of a level: of every process's memory, of the shared server, or of every machine's disk."""
    level = _level(path.level, "level")
    return {"level": path.level, "cleared_count": farm().cache.clear(level), "timestamp": _now()}


@api.get("/stats", security=needs.READ, responses={"200": cache_stats.CacheStats})
def stats() -> Any:
    """What this process has asked its cache for, and what the tiers hold."""
    return cache_stats.told(farm().cache.statistics())


@api.post("/cleanup", security=needs.ADMIN, responses={"200": bodies.Swept})
def cleanup() -> Any:
    """Make room of what has expired, now."""
    return {"status": "cleanup_completed", "removed_count": farm().cache.sweep(), "timestamp": _now()}


@api.get("/health", security=needs.READ, responses={"200": bodies.Health})
def health() -> Any:
    """Whether every tier answers."""
    statistics = farm().cache.statistics()
    away = [level.upper() for level, own in statistics.items() if own.size is None]
    told = cache_stats.told(statistics)
    return {
        "status": "degraded" if away else "healthy",
        "timestamp": _now(),
        "tiers_away": away,
        "cache_stats": told,
        "memory_usage_mb": round(psutil.Process().memory_info().rss / 2**20, 1),
        "entry_count": told["overall"]["total_entries"],
    }


@api.get("/<cache_key:key>", security=needs.READ, responses={"200": bodies.FoundValue, **_NOT_FOUND})
def read(path: bodies.KeyPath) -> Any:
    """Read a value."""
    _check_key(path.key, "key")
    found = farm().values.get(path.key)
    if found is None:
        raise RequestProblem(404, "no such key in the cache")
    return {
        "key": path.key,
        "value": found.content,
        "cache_hit": True,
        "cache_level": found.level.upper(),
        "access_count": found.uses,
        "age_seconds": round(found.age_s, 3),
    }


@api.post("/<cache_key:key>", security=needs.ADMIN, responses={"200": bodies.Kept})
def write(path: bodies.KeyPath, body: bodies.CachedValue) -> Any:
    """Keep a value, in the tier of its level and in those behind it."""
    _check_key(path.key, "key")
    if body.key not in {None, path.key}:
        raise RequestProblem(422, "another key than the path's", field="key")
    _keep(path.key, _content(body.value, "value"), body)
    return {"key": path.key, "status": "cached", "cache_level": body.cache_level, "timestamp": _now()}


@api.delete("/<cache_key:key>", security=needs.ADMIN, responses={"200": bodies.Deleted, **_NOT_FOUND})
def delete(path: bodies.KeyPath) -> Any:
    """Forget a value, in every process."""
    _check_key(path.key, "key")
    if not farm().values.delete(path.key):
        raise RequestProblem(404, "no such key in the cache")
    return {"key": path.key, "status": "deleted", "timestamp": _now()}


def _done(operation: bodies.Operation, content: bytes) -> dict[str, Any]:
    values, told = farm().values, {"key": operation.key, "operation": operation.type}
    if operation.type == "set":
        _keep(operation.key, content, operation)
        return told | {"success": True}
    if operation.type == "delete":
        return told | (
            {"success": True} if values.delete(operation.key) else {"success": False, "error": "no such key"}
        )
    found = values.get(operation.key)
    return told | (
        {"success": False, "error": "no such key"} if found is None else {"success": True, "value": found.content}
    )


def _keep(key: str, content: bytes, asked: bodies.CachedValue | bodies.Operation) -> None:
    ttl_s = asked.ttl_seconds if asked.ttl_seconds is not None else farm().settings.default_ttl_seconds
    farm().values.set(key, content, ttl_s, _level(asked.cache_level, "cache_level"), asked.tags)


def _level(name: str, field: str) -> Level:
    known = {level.upper(): level for level in farm().values.levels}
    if name not in known:
        raise RequestProblem(422, f"no level {name!r} here; there are {', '.join(known)}", field=field)
    return known[name]


def _check_key(key: str, field: str) -> None:
    most = farm().settings.max_key_size_bytes
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise RequestProblem(422, "not UTF-8", field=field) from None
    if not 0 < size <= most:
        raise RequestProblem(422, f"a key of {size} bytes; 1 to {most} are allowed", field=field)


def _content(value: Any, field: str) -> bytes:
    most = farm().settings.max_value_size_bytes
    try:
        content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise RequestProblem(422, "no JSON value: an unpaired surrogate", field=field) from None
    except ValueError:
        raise RequestProblem(422, "no JSON value: a number that is not finite", field=field) from None
    except RecursionError:
        raise RequestProblem(422, f"nested more than {MOST_NESTED} deep", field=field) from None
    if nesting(content) > MOST_NESTED:
        raise RequestProblem(422, f"nested more than {MOST_NESTED} deep", field=field)
    if len(content) > most:
        raise RequestProblem(422, f"a value of {len(content)} bytes; at most {most} are allowed", field=field)
    return content


def _now() -> str:
    return datetime.now(UTC).isoformat()
