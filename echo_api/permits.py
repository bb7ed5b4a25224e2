"""A caller's permit to go on being served, for requests that last: a key may be revoked meanwhile, or expire."""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import g

from echo_api.callers import Caller
from echo_api.problems import unauthenticated
from echo_api.wakeups import Wakeups
from echo_tasks.access.keyring import Keyring


@dataclass(slots=True)
class Permit:
    """`seen`: how often keys had changed, as far as this process has heard, when the caller was let in.

    `until`: when his key is over by itself, a moment of `time.monotonic`.
    """

    caller: Caller
    keyring: Keyring
    wakeups: Wakeups
    seen: int
    until: float

    def check(self) -> None:
        """Raises RequestProblem (401) when the key is not good any more."""
        if not self.holds():
            raise unauthenticated("the key was revoked, has expired, or its old secret is over", is_wrong=True)

    def holds(self, *, look: bool = False) -> bool:
        """Whether the key is still good: looked up where keys have changed, its time is over, or `look` says so."""
        changes = self.wakeups.key_changes
        if self.caller.shown is None or not (look or changes != self.seen or self.left_s == 0):
            return True
        self.seen = changes
        left_s = self.keyring.good_for_s(self.caller.shown)
        self.until = time.monotonic() + left_s
        return left_s > 0

    @property
    def left_s(self) -> float:
        """How long the key is good unless something is done to it."""
        return max(0.0, self.until - time.monotonic())


def permit() -> Permit:
    """The permit of whoever makes this request."""
    return g.permit  # type: ignore[no-any-return]
