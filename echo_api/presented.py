"""The key that a request shows, and where it comes from."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from flask import request

from echo_tasks.access.exposure import is_loopback

_CLIENTS_NETWORK = 64
"""Bits of an IPv6 address that are one client's: he has all addresses that begin so."""


def key() -> str | None:
    """The text of the key, None where none is shown. Two that differ are as good as a wrong one: an empty text.

    `Authorization` of another scheme than `Bearer` is not meant for us.
    """
    shown = set()
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        shown.add(bearer.strip())
    if (own := request.headers.get("X-API-Key")) is not None:
        shown.add(own.strip())
    if not shown:
        return None
    return shown.pop() if len(shown) == 1 else ""


def is_local(origins: Collection[str]) -> bool:
    """Whether it is this machine's own: neither passed on from another, nor sent for a page that is from elsewhere.

    A browser tells a page's origin, and a page that has a name of its own lead here is told by `Host`; `origins` are
    those whose pages are trusted. A header that anybody may forge can only take freedom away here, never give it.
    """
    if "Forwarded" in request.headers:
        return False
    places = [request.remote_addr or "", request.headers.get("X-Real-IP", "127.0.0.1"), *request.access_route]
    places.append(_host_of(f"//{request.host}"))
    if (origin := request.headers.get("Origin")) is not None and origin not in origins:
        places.append(_host_of(origin))
    return all(is_loopback(place) for place in places)


def _host_of(url: str) -> str:
    """The host that a URL names; nothing where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def client() -> str:
    """The client's address, for counting: of IPv6, the part that is all his."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if address.version == 4 or address.ipv4_mapped:
        return str(getattr(address, "ipv4_mapped", None) or address)
    return str(ipaddress.ip_network((address, _CLIENTS_NETWORK), strict=False))
