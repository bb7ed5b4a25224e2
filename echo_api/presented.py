"""The key that a request shows, and where it comes from."""

from __future__ import annotations

import ipaddress

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


def is_local() -> bool:
    """Whether it comes from this machine, and is not passed on from another: whoever does that says so in a header.

    A header that anybody may forge can only take the caller's freedom away here, never give it.
    """
    if "Forwarded" in request.headers:
        return False
    passed_on = request.headers.get("X-Real-IP", "127.0.0.1")
    return all(is_loopback(address) for address in (request.remote_addr or "", passed_on, *request.access_route))


def client() -> str:
    """The client's address, for counting: of IPv6, the part that is all his."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return "unknown"
    if address.version == 4 or address.ipv4_mapped:
        return str(getattr(address, "ipv4_mapped", None) or address)
    return str(ipaddress.ip_network((address, _CLIENTS_NETWORK), strict=False))
