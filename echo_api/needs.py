"""What a route needs of its caller, declared beside it: the OpenAPI document tells it, and the gate reads it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask_openapi3 import OpenAPI
from flask_openapi3.utils import parse_rule

from echo_api.problems import documented
from echo_tasks.access.grants import Scope

SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key: `Authorization: Bearer echo_…`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "an API key, in its own header"},
}

Security = list[dict[str, list[str]]]


def _needs(scope: Scope) -> Security:
    """Either way of showing a key that has the scope."""
    return [{scheme: [scope]} for scheme in SCHEMES]


READ = _needs("read")
SUBMIT = _needs("submit")
ADMIN = _needs("admin")

NOTHING: dict[str, Any] = {"security": []}
"""For `openapi_extensions` of a route that is the same for everybody."""

MORE_FOR_ADMIN: dict[str, Any] = {"security": [{}, *ADMIN]}
"""The same, of a route that anybody may use, and that tells some callers more."""

_REFUSALS = {
    "401": "no API key where one is needed, or one that is not good; `WWW-Authenticate`",
    "403": "the key has not the scope `{}`",
    "429": "too many requests of the key, or of the address; `Retry-After`, `RateLimit`",
    "503": "the broker does not answer; `Retry-After`",
}

_PAGES = frozenset({"openapi", "swagger", "static"})
"""What comes with the document, which is no secret; and files, of which there are none."""


@dataclass(frozen=True, slots=True)
class Need:
    """The scope that is needed, if any; an open route does not even look who asks."""

    scope: Scope | None
    is_open: bool = False


def by_route(app: OpenAPI) -> Mapping[tuple[str, str], Need]:
    """What each route of the application needs, by endpoint and method. Raises LookupError where it does not say."""
    document = app.api_doc["paths"]
    found = {}
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"OPTIONS"}:
            if rule.endpoint.partition(".")[0] in _PAGES:
                found[rule.endpoint, method] = Need(None, is_open=True)
                continue
            operation = document[parse_rule(rule.rule)]["get" if method == "HEAD" else method.lower()]
            if "security" not in operation:
                raise LookupError(f"{method} {rule.rule} does not say what it needs")
            found[rule.endpoint, method] = _need(operation["security"])
    return found


def document(app: OpenAPI) -> None:
    """Tell in the document how those are answered who may not, or ask too often."""
    for operations in app.api_doc["paths"].values():
        for operation in operations.values():
            if scope := _need(operation.get("security", [])).scope:
                told = {status: documented(what.format(scope)) for status, what in _REFUSALS.items()}
                operation["responses"] = told | operation["responses"]


def _need(security: Security) -> Need:
    scopes: list[Any] = [scope for choice in security for named in choice.values() for scope in named]
    return Need(scopes[0] if {} not in security and scopes else None, is_open=not security)
