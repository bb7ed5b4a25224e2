"""A key as its holder has it: `echo_ID_SECRET`. The id is public and finds the record; of the secret we keep a hash.

The secret is 256 random bits. A slow, salted hash is there for what people make up; what nobody can guess is as safe
behind one SHA-256, which every request can afford. Digests are compared, never secrets: how long that takes tells of a
digest at most, from which no way leads back. By the fixed beginning scanners find a key that was left in some source.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

ID_LENGTH = 10
"""Characters of a key's id, of 32 kinds."""

_ID_KINDS = "abcdefghijklmnopqrstuvwxyz234567"
_SECRET_BYTES = 32
_FORM = re.compile(rf"echo_([{_ID_KINDS}]{{{ID_LENGTH}}})_([A-Za-z0-9_-]{{43}})", re.ASCII)


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """A key's public id, and the digest of its secret."""

    key_id: str
    digest: str


def new_id() -> str:
    """An id for a key."""
    return "".join(secrets.choice(_ID_KINDS) for _ in range(ID_LENGTH))


def new_secret() -> str:
    """A secret that nobody can guess."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def written(key_id: str, secret: str) -> str:
    """The key as its holder is told it, once."""
    return f"echo_{key_id}_{secret}"


def parsed(text: str) -> Credential | None:
    """What somebody shows us, if it has the form of a key."""
    match = _FORM.fullmatch(text)
    return Credential(match[1], digest(match[2])) if match else None


def digest(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
