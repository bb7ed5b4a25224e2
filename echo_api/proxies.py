"""Who a request comes from, where proxies stand between: their word counts if their address is one that is trusted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_SAYINGS = ("PROTO", "HOST", "PORT", "PREFIX", "SERVER", "SSL", "PROTOCOL")
_WORDS = tuple(f"HTTP_X_FORWARDED_{saying}" for saying in _SAYINGS)
"""By which somebody may say what a request was before; behind us nobody reads them. Those that name its client stay as
they came: they show of a request from loopback that it was passed on, be the one who did that trusted or not."""

_HOST = re.compile(r"([\w.~-]+|\[[\da-f:.]+\])(:\d{1,5})?", re.ASCII | re.IGNORECASE)
_PORT = re.compile(r"^\[(.*)\](?::\d+)?$|^([\d.]+):\d+$")


class TrustedProxies:
    """A WSGI application behind these networks' proxies: its requests' address, scheme and host are the real ones.

    Werkzeug's ProxyFix counts hops and believes whoever has come by that many; we go by the hops' addresses.
    """

    def __init__(self, application: WSGIApplication, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._application = application
        self._networks = tuple(networks)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request; what else was forwarded with it is used or dropped."""
        said = {name: value for name in _WORDS if (value := environ.pop(name, None))}
        peer = _address(environ.get("REMOTE_ADDR", ""))
        if peer is not None and self._is_trusted(peer):
            environ |= self._believed(peer, environ.get("HTTP_X_FORWARDED_FOR", ""), said)
        return self._application(environ, start_response)

    def _believed(self, peer: IPv4Address | IPv6Address, chain: str, said: dict[str, str]) -> dict[str, Any]:
        told: dict[str, Any] = {"REMOTE_ADDR": str(self._client(peer, chain))}
        scheme = _last(said.get("HTTP_X_FORWARDED_PROTO", "")).lower()
        if scheme in {"http", "https"}:
            told["wsgi.url_scheme"] = scheme
        host = _last(said.get("HTTP_X_FORWARDED_HOST", ""))
        if _HOST.fullmatch(host):
            told["HTTP_HOST"] = host
        return told

    def _client(self, peer: IPv4Address | IPv6Address, chain: str) -> IPv4Address | IPv6Address:
        """The last hop that is no proxy of ours, from the near end: what stands before it anybody may have written."""
        nearest = peer
        for hop in reversed(chain.split(",")):
            address = _address(hop.strip())
            if address is None:
                break
            nearest = address
            if not self._is_trusted(address):
                break
        return nearest

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address as proxies write it, with a port or without; None for anything else."""
    if match := _PORT.match(text):
        text = match[1] or match[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _last(values: str) -> str:
    """What the nearest proxy said, if several did."""
    return values.rpartition(",")[2].strip()
