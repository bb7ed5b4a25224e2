"""A caller's permit to go on being served, for requests that last: a key may be revoked meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from flask import g

from echo_api.callers import Caller
from echo_api.problems import unauthenticated
from echo_api.wakeups import Wakeups
from echo_tasks.access.keyring import Keyring


@dataclass(slots=True)
class Permit:
    """`seen`: how often keys had changed, as far as this process has heard, when the caller was let in."""

    caller: Caller
    keyring: Keyring
    wakeups: Wakeups
    seen: int

    def check(self) -> None:
        """Raises RequestProblem (401) when the key is not good any more."""
        if not self.holds():
            raise unauthenticated("the key was revoked, or its old secret is over", is_wrong=True)

    def holds(self, *, look: bool = False) -> bool:
        """Whether the key is still good. It is looked up where keys have changed, or `look` says so; else it is."""
        changes = self.wakeups.key_changes
        if self.caller.shown is None or (changes == self.seen and not look):
            return True
        self.seen = changes
        return self.keyring.is_good(self.caller.shown)


def permit() -> Permit:
    """The permit of whoever makes this request."""
    return g.permit  # type: ignore[no-any-return]
