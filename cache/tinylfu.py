"""W-TinyLFU: what is new is let in only if it has been asked for more often than what would have to go.

A small window takes newcomers, so that bursts are served; what leaves it competes with the main part's next victim, and
the main part keeps what was used twice apart from what was used once. Frequencies fade: every count is halved after ten
requests for each entry that is kept. Source: Einziger, Friedman, Manes (ACM TOS 2017). Counts are exact here, where the
paper's sketch saves memory: values are large, keys are few.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

V = TypeVar("V")

_WINDOW, _PROTECTED = 0.01, 0.8
"""The window's share of the whole, and of the rest that of what was used twice."""

_REQUESTS_AN_ENTRY, _MOST = 10, 15
"""Requests for each kept entry until counts are halved, and the largest count."""


class TinyLFU(Generic[V]):
    """A table of values bounded in weight; deterministic, and not for several threads at a time."""

    def __init__(self, limit: int, weigher: Callable[[V], int], evicted: Callable[[str, V], None]) -> None:
        self._limit, self._weigher, self._evicted = limit, weigher, evicted
        main = limit - max(1, int(limit * _WINDOW))
        self._window = _Part[V](limit - main)
        self._probation, self._protected = _Part[V](main), _Part[V](int(main * _PROTECTED))
        self._parts = (self._window, self._probation, self._protected)
        self._counts: dict[str, int] = {}
        self._requests = 0

    def get(self, key: str) -> V | None:
        """The value; None where there is none, which counts as a request too."""
        self._count(key)
        for part in (self._window, self._protected):
            if (found := part.used(key)) is not None:
                return found
        if (again := self._probation.take(key)) is None:
            return None
        value, weight = again
        self._protected.put(key, value, weight)
        while self._protected.is_over:
            self._probation.put(*self._protected.oldest())
        return value

    def peek(self, key: str) -> V | None:
        """The value; this is no use of it."""
        return next((part.entries[key][0] for part in self._parts if key in part.entries), None)

    def put(self, key: str, value: V) -> None:
        """Keep a value, if it is let in; what was kept under the key is gone in any case."""
        self.drop(key)
        self._window.put(key, value, self._weigher(value))
        while self._window.is_over:
            self._admit(*self._window.oldest())

    def drop(self, key: str) -> bool:
        """Keep it no more; whether it was kept."""
        return any(part.take(key) is not None for part in self._parts)

    def items(self) -> Iterable[tuple[str, V]]:
        """What is kept, in no order; this is no use of it."""
        return [(key, value) for part in self._parts for key, (value, _) in part.entries.items()]

    def clear(self) -> None:
        """Keep nothing, and forget what was asked for."""
        self.__init__(self._limit, self._weigher, self._evicted)  # type: ignore[misc]

    def size(self) -> tuple[int, int]:
        """How many values are kept, and what they weigh."""
        return sum(len(part.entries) for part in self._parts), sum(part.weight for part in self._parts)

    def _admit(self, key: str, value: V, weight: int) -> None:
        """Let a candidate into the main part, if those that would have to go are asked for less often."""
        room = self._limit - self._window.limit - self._probation.weight - self._protected.weight
        victims = []
        for victim, (gone, freed) in (*self._probation.entries.items(), *self._protected.entries.items()):
            if room >= weight:
                break
            if self._counts.get(victim, 0) >= self._counts.get(key, 0):
                return self._evicted(key, value)
            victims.append((victim, gone))
            room += freed
        if room < weight:  # larger than the whole table
            return self._evicted(key, value)
        for victim, gone in victims:
            self._evicted(victim, gone)
            self.drop(victim)
        self._probation.put(key, value, weight)

    def _count(self, key: str) -> None:
        self._counts[key] = min(_MOST, self._counts.get(key, 0) + 1)
        self._requests += 1
        if self._requests >= _REQUESTS_AN_ENTRY * max(1, self.size()[0]):
            self._counts = {known: count // 2 for known, count in self._counts.items() if count > 1}
            self._requests //= 2


class _Part(Generic[V]):
    """Values with their weights, the one used longest ago first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.weight = 0
        self.entries: OrderedDict[str, tuple[V, int]] = OrderedDict()

    @property
    def is_over(self) -> bool:
        return self.weight > self.limit

    def used(self, key: str) -> V | None:
        """The value, which is now the one used last."""
        if key not in self.entries:
            return None
        self.entries.move_to_end(key)
        return self.entries[key][0]

    def put(self, key: str, value: V, weight: int) -> None:
        self.entries[key] = value, weight
        self.weight += weight

    def take(self, key: str) -> tuple[V, int] | None:
        """Take a value out, with its weight."""
        taken = self.entries.pop(key, None)
        if taken is not None:
            self.weight -= taken[1]
        return taken

    def oldest(self) -> tuple[str, V, int]:
        """Take the value out that was used longest ago."""
        key, (value, weight) = self.entries.popitem(last=False)
        self.weight -= weight
        return key, value, weight
