"""Label values that are not ours to choose, and may be any number: only so many are told apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable

OTHER = "other"

LONGEST = 128
"""Characters of a value; what is longer is cut."""


class Bounded:
    """The values of one label: so many at most, first come, first served; the rest are `other`."""

    def __init__(self, most: int, refuse: Callable[[], None], always: Iterable[str] = ()) -> None:
        """`always` have their places whoever came before. `refuse` is called for each value that has none."""
        self._most = most
        self._refuse = refuse
        self._always = frozenset(always)
        self._taken: set[str] = set()

    @property
    def taken(self) -> tuple[str, ...]:
        """The values that have come, but for those that always have a place."""
        return tuple(self._taken)

    def __call__(self, value: str) -> str:
        """The value, or `other`."""
        value = value[:LONGEST]
        if value in self._always or value in self._taken:
            return value
        if len(self._taken) >= self._most:
            self._refuse()
            return OTHER
        self._taken.add(value)
        return value

    def let_go(self, value: str) -> None:
        """Its place is another's from now on."""
        self._taken.discard(value)
