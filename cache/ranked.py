"""Ranks: a key says what it may be dropped for. The lowest rank goes first, and of a rank what was used longest ago.

A key `3:…` has rank 3; a key without a digit and a colon at its beginning is above all that have them. Whoever keeps
values that may never be wanted thus keeps them in room that nothing else needs, and a scan of them flushes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

V = TypeVar("V")

_RANKS = "0123456789"
_UNRANKED = len(_RANKS)


class Ranked(Generic[V]):
    """A table of values bounded in weight; deterministic, and not for several threads at a time."""

    def __init__(self, limit: int, weigher: Callable[[V], int], evicted: Callable[[str, V], None]) -> None:
        self._limit, self._weigher, self._evicted = limit, weigher, evicted
        self._by_rank: list[OrderedDict[str, tuple[V, int]]] = [OrderedDict() for _ in range(_UNRANKED + 1)]
        self._weight = 0

    def get(self, key: str) -> V | None:
        """The value; None where there is none."""
        rank = self._by_rank[_rank(key)]
        if key not in rank:
            return None
        rank.move_to_end(key)
        return rank[key][0]

    def put(self, key: str, value: V) -> None:
        """Keep a value, if nothing but higher ranks would have to go; what was kept under the key is gone."""
        self.drop(key)
        weight = self._weigher(value)
        if weight > self._limit:
            return self._evicted(key, value)
        self._by_rank[_rank(key)][key] = value, weight
        self._weight += weight
        while self._weight > self._limit:
            self._drop_one()

    def peek(self, key: str) -> V | None:
        """The value; this is no use of it."""
        kept = self._by_rank[_rank(key)].get(key)
        return kept[0] if kept else None

    def drop(self, key: str) -> bool:
        """Keep it no more; whether it was kept."""
        kept = self._by_rank[_rank(key)].pop(key, None)
        self._weight -= kept[1] if kept else 0
        return kept is not None

    def items(self) -> Iterable[tuple[str, V]]:
        """What is kept, in no order; this is no use of it."""
        return [(key, value) for rank in self._by_rank for key, (value, _) in rank.items()]

    def clear(self) -> None:
        """Keep nothing."""
        self.__init__(self._limit, self._weigher, self._evicted)  # type: ignore[misc]

    def size(self) -> tuple[int, int]:
        """How many values are kept, and what they weigh."""
        return sum(map(len, self._by_rank)), self._weight

    def _drop_one(self) -> None:
        lowest = next(rank for rank in self._by_rank if rank)
        key, (value, weight) = lowest.popitem(last=False)
        self._weight -= weight
        self._evicted(key, value)


def _rank(key: str) -> int:
    return _RANKS.index(key[0]) if key[1:2] == ":" and key[0] in _RANKS else _UNRANKED
