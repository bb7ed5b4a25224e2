"""Headers that every answer of the application has, whatever it is an answer to."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from flask import Flask, Response, request

from echo_api import browsers
from echo_api.farm import farm


def install(app: Flask) -> None:
    """Complete every answer. What a view has said itself stays; install it first, so that it has the last word."""
    app.after_request(_complete)


def _complete(response: Response) -> Response:
    if response.location is not None and 300 <= response.status_code < 400:
        _send_on_here(response)
    is_page = response.mimetype == "text/html"
    policy = browsers.policy_of_page(response.get_data(as_text=True)) if is_page else browsers.NOTHING
    told = browsers.ALWAYS | {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    if request.is_secure and (hsts_s := farm().settings.hsts_s):
        told |= {"Strict-Transport-Security": f"max-age={hsts_s}"}
    for name, value in told.items():
        response.headers.setdefault(name, value)
    return response


def _send_on_here(response: Response) -> None:
    """Where a redirection goes: the router's own names the host that the client has named, whatever that is."""
    place = urlsplit(response.location or "")
    response.location = urlunsplit(("", "", place.path, place.query, ""))
    response.set_data(b"")
