"""What a key is good for: its scopes, its bounds and its times, as its record in the broker has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field

from echo_tasks import keys
from echo_tasks.messages import Stored

Scope = Literal["submit", "read", "admin"]
"""Have jobs done; look at them; see to the farm, which goes with the other two."""

SCOPES: tuple[Scope, ...] = get_args(Scope)


class Bounds(Stored):
    """How much a key's holder may have; None: no more bound than anybody's.

    `priority` is what his jobs have that name none, `priority_most` the highest that they may name. Requests are
    counted for each key by itself, all else for all keys of one owner together; days are UTC's.
    """

    priority: int = Field(1, ge=1, le=keys.HIGHEST)
    priority_most: int = Field(keys.HIGHEST, ge=1, le=keys.HIGHEST)
    open_jobs: int | None = Field(None, ge=1)
    jobs_per_day: int | None = Field(None, ge=1)
    tokens_per_day: int | None = Field(None, ge=1)
    sessions: int | None = Field(None, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)


UNBOUND = Bounds()


class Grant(Stored):
    """A key's record. Times are seconds since the epoch, by the broker's clock; `last_used_at` is right to a minute.

    Jobs and sessions belong to the owner: the key itself, or another one that it was made to go with.
    """

    key_id: str
    owner: str
    name: str
    scopes: tuple[Scope, ...]
    bounds: Bounds
    created_at: float
    expires_at: float | None = None
    last_used_at: float | None = None
    rotated_at: float | None = None
    old_until: float | None = Field(None, description="until when the secret before the last rotation is good")
    revoked_at: float | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the key is good for that."""
        return scope in self.scopes or "admin" in self.scopes

    def ends_at(self, *, is_old: bool) -> float:
        """When the secret is over by itself, or the one before it; infinite for one that is not."""
        over = (self.expires_at, self.old_until if is_old else None)
        return min((moment for moment in over if moment is not None), default=math.inf)


_TIMES = ("created_at", "expires_at", "last_used_at", "rotated_at", "old_until", "revoked_at")


def fields(grant: Grant) -> dict[str, str]:
    """The record as Redis keeps it, without the digests."""
    told = grant.model_dump(include={"owner", "name", *_TIMES}, exclude_none=True) | grant.bounds.model_dump(
        exclude_none=True
    )
    return {name: str(value) for name, value in told.items()} | {"scopes": " ".join(grant.scopes)}


def grant(key_id: str, record: Mapping[str, str]) -> Grant:
    """The record, read back."""
    return Grant(
        key_id=key_id,
        scopes=tuple(scope for scope in SCOPES if scope in record["scopes"].split()),
        owner=record["owner"],
        name=record["name"],
        bounds=Bounds(**{name: int(record[name]) for name in Bounds.model_fields if name in record}),
        **{name: float(record[name]) for name in _TIMES if name in record},
    )
