"""The OpenAPI document: what a route says of itself, and what all of its kind may answer besides."""

from __future__ import annotations

from typing import Any

from flask_openapi3 import OpenAPI

from echo_api import problems
from echo_api.converters import JobId, SessionId

_OF_BODIES = {
    "400": problems.documented("the body is not JSON"),
    "408": problems.documented("the body did not arrive within CLIENT_BODY_S"),
    "413": problems.documented("the body is too large: over 1 MiB, or what the route allows"),
    "415": problems.documented("the body is not application/json, or is compressed"),
    **problems.INVALID,
}
"""For routes that take one."""

_OF_SERVERS = {"503": problems.documented("the broker or the cache does not answer, or has no room; `Retry-After`")}
"""For routes that ask one."""

_FORMS = {"job_id": JobId.regex, "session_id": SessionId.regex}
"""What in a path is not found unless it has a form."""


class Api(OpenAPI):
    """An application with its document."""

    def generate_spec_json(self) -> None:
        """Make the document."""
        super().generate_spec_json()  # type: ignore[no-untyped-call]
        if self.spec_json["components"]["securitySchemes"] is None:
            del self.spec_json["components"]["securitySchemes"]  # null is not what none is called
        for path, operations in self.spec_json["paths"].items():
            for operation in operations.values():
                _complete(path, operation)


def _complete(path: str, operation: dict[str, Any]) -> None:
    answers, parameters = operation["responses"], operation.get("parameters", [])
    if "application/problem+json" not in answers["422"]["content"]:
        del answers["422"]  # the library's own, which is never answered
    if any(parameter["in"] != "path" for parameter in parameters):
        answers |= problems.INVALID | answers
    if "requestBody" in operation:
        answers |= _OF_BODIES | answers
    if path.startswith("/api/"):
        answers |= _OF_SERVERS | answers
    for parameter in parameters:
        if form := _FORMS.get(parameter["name"]):
            parameter["schema"]["pattern"] = f"^{form}$"
