"""Servers by their URLs: one server, one behind TLS, or whichever server some sentinels say is the primary.

What a URL cannot say in Celery's form (certificates, the primary's name) we add to it as a query, so that one text is
the whole address of a server for all clients of ours. `for_celery` takes it off again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urlsplit, urlunsplit

SCHEMES = ("redis", "rediss", "sentinel")
FORM = "redis://host:port/db, rediss://…, or sentinel://host:port/db;sentinel://…"

_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Where sentinels are, the name by which they know the primary, and how to log in at that."""

    hosts: tuple[tuple[str, int], ...]
    primary: str
    db: int
    username: str | None
    password: str | None


def checked(url: str) -> str:
    """The URL, if it is one of ours. Raises ValueError."""
    members = url.split(";")
    schemes = {urlsplit(member).scheme for member in members}
    if len(schemes) > 1 or not schemes <= set(SCHEMES) or (len(members) > 1 and schemes != {"sentinel"}):
        raise ValueError(f"a URL {FORM} is expected")
    for member in members:
        parts = urlsplit(member)
        if not parts.hostname or parts.query:
            raise ValueError(f"a URL {FORM} is expected")
        try:
            _ = parts.port  # urlsplit checks the port only when it is read, and would tell what stands there
        except ValueError:
            raise ValueError(f"a URL {FORM} is expected, with a port from 1 to 65535") from None
        if not re.fullmatch(r"/?|/\d+", parts.path):
            raise ValueError("the path of the URL is the database's number")
    return url


def is_sentinels(url: str) -> bool:
    """Whether the URL names sentinels, and not the server itself."""
    return url.startswith("sentinel://")


def has_password(url: str) -> bool:
    """Whether the URL says how to log in, beyond a user's name."""
    return any(urlsplit(member).password for member in url.split(";"))


def with_password(url: str, password: str) -> str:
    """The URL with a password, which may be of any characters, for the user that it names; of sentinels, each."""
    return ";".join(_logging_in(urlsplit(member), quote(password, safe="")) for member in url.split(";"))


def _logging_in(parts: SplitResult, password: str) -> str:
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.rstrip(':')}:{password}@{place}"))


def with_query(url: str, **said: str | bool) -> str:
    """The URL, and what it cannot say itself."""
    return f"{url}?{urlencode(said)}"


def for_celery(url: str) -> str:
    """The URL as Celery takes it: the rest is in its configuration."""
    return url.partition("?")[0]


def sentinels(url: str) -> Sentinels:
    """What the URL of some sentinels says."""
    url, _, query = url.partition("?")
    members = [urlsplit(member) for member in url.split(";")]
    first = members[0]
    return Sentinels(
        hosts=tuple((str(member.hostname), member.port or _SENTINEL_PORT) for member in members),
        primary=parse_qs(query)["primary"][0],
        db=int(first.path.strip("/") or 0),
        username=unquote(first.username) if first.username else None,
        password=unquote(first.password) if first.password else None,
    )
