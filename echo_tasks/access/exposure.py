"""Who can reach the API, and whether he needs a key for it. It knows settings alone, and imports no client of Redis."""

from __future__ import annotations

import ipaddress

from echo_tasks.settings import Settings


def is_loopback(address: str) -> bool:
    """Whether an address, or the name of one, is this machine for itself."""
    if address == "localhost":
        return True
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def needs_keys(settings: Settings) -> bool:
    """Whether nobody is let in without a key. Where this is false, `auto` asks those from elsewhere for one still."""
    return settings.api_keys == "required" or (settings.api_keys == "auto" and not is_loopback(settings.api_host))


def wants_a_key_first(settings: Settings) -> bool:
    """Whether the API must not start without a key: nobody could use it, and nobody has said that this is meant."""
    return settings.api_keys == "auto" and not is_loopback(settings.api_host) and settings.api_admin_key is None
