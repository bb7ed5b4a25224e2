"""Who asks: the holder of a key, or whoever needs none; what of the farm is his, and under which names."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flask import g

from echo_tasks.access.credentials import Credential
from echo_tasks.access.grants import SCOPES, UNBOUND, Bounds, Grant, Scope
from echo_tasks.access.quotas import Account
from echo_tasks.messages import JobResult

LONGEST_SESSION_ID = 128


@dataclass(frozen=True, slots=True, repr=False)
class Caller:
    """`owner` is empty for whoever has no key. Without one, and with one of scope `admin`, all of the farm is his.

    Each other owner's sessions have names of their own: what a client calls `me` is `OWNER_me` in the farm. So two keys
    may both have a session `me`, and none can name another's. Whoever sees all calls each session by its whole name.
    """

    key_id: str = ""
    owner: str = ""
    scopes: tuple[Scope, ...] = SCOPES
    bounds: Bounds = UNBOUND
    shown: Credential | None = None
    shown_ends_in_s: float = math.inf

    @classmethod
    def of(cls, grant: Grant, shown: Credential, ends_in_s: float) -> Caller:
        """The holder of a key; `ends_in_s` from now what he has shown is over by itself."""
        return cls(grant.key_id, grant.owner, grant.scopes, grant.bounds, shown, ends_in_s)

    def may(self, scope: Scope) -> bool:
        """Whether his key is good for that."""
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, owner: str) -> bool:
        """Whether what belongs to that owner is there for him."""
        return self.may("admin") or owner == self.owner

    @property
    def beginning(self) -> str:
        """What the farm's names of his sessions begin with."""
        return "" if self.may("admin") else self.account.beginning

    @property
    def longest_name(self) -> int:
        """Characters that the name of a session of his may have."""
        return LONGEST_SESSION_ID - len(self.beginning)

    def inner(self, name: str) -> str:
        """The farm's name of a session of his."""
        return self.beginning + name

    def outer(self, session_id: str) -> str:
        """His own name of a session."""
        return session_id.removeprefix(self.beginning)

    def told(self, result: JobResult) -> JobResult:
        """An answer with his name of its session."""
        return result.model_copy(update={"session_id": self.outer(result.session_id)})

    @property
    def account(self) -> Account:
        """Whose his jobs are, and how many he may have."""
        bounds = self.bounds
        return Account(self.owner, bounds.open_jobs, bounds.jobs_per_day, bounds.tokens_per_day, bounds.sessions)


ANYBODY = Caller()
"""Who needs no key: he may do all, and what he makes is nobody's."""

STRANGER = Caller(scopes=())
"""Who has shown no key where one is needed for more than anybody is told."""

ADMIN = Caller(key_id="admin", owner="admin")
"""Who holds the key that the settings name."""


def caller() -> Caller:
    """Who makes this request."""
    return g.caller  # type: ignore[no-any-return]
