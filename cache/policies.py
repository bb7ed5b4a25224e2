"""What a full tier lets go of first, by name; each is a table bounded in weight, on a library that is kept well.

`lru`, `lfu` and `fifo` are cachetools' (of entries used equally often `lfu` drops the one used longest ago); `wtinylfu`
is our own, since moka's differs from run to run and theine's counts entries, not bytes. `ranked` is for callers who
know what they can spare, and say so in their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, Literal, Protocol, TypeVar

from cachetools import Cache, FIFOCache, LFUCache, LRUCache

from cache.ranked import Ranked
from cache.tinylfu import TinyLFU

PolicyName = Literal["lru", "lfu", "fifo", "wtinylfu", "ranked"]

V = TypeVar("V")
Weigher = Callable[[V], int]
Evicted = Callable[[str, V], None]


class Table(Protocol[V]):
    """Values by key, of which the least worth keeping are dropped when all weigh more than the limit."""

    def get(self, key: str) -> V | None:
        """The value; None where there is none."""

    def peek(self, key: str) -> V | None:
        """The value; this is no use of it."""

    def put(self, key: str, value: V) -> None:
        """Keep a value, if it is let in; what was kept under the key is gone in any case."""

    def drop(self, key: str) -> bool:
        """Keep it no more; whether it was kept."""

    def items(self) -> Iterable[tuple[str, V]]:
        """What is kept, in no order; this is no use of it."""

    def clear(self) -> None:
        """Keep nothing."""

    def size(self) -> tuple[int, int]:
        """How many values are kept, and what they weigh."""


def table(name: PolicyName, limit: int, weigher: Weigher[V], evicted: Evicted[V]) -> Table[V]:
    """An empty table; `evicted` is told of every value that is dropped for want of room. Not for several threads."""
    return _POLICIES[name](limit, weigher, evicted)


class _Cachetools(Generic[V]):
    """One of cachetools' caches."""

    def __init__(self, kind: type[Cache[str, V]], limit: int, weigher: Weigher[V], evicted: Evicted[V]) -> None:
        class Watched(kind):  # type: ignore[valid-type, misc]
            def popitem(_) -> tuple[str, V]:  # noqa: N805 - this is a method of the other class, too
                key, value = super().popitem()
                if key != self._replaced:
                    evicted(key, value)
                return key, value

        self._evicted = evicted
        self._replaced: str | None = None
        self._cache: Cache[str, V] = Watched(limit, getsizeof=weigher)
        self.get = self._cache.get

    def peek(self, key: str) -> V | None:
        return Cache.__getitem__(self._cache, key) if key in self._cache else None

    def put(self, key: str, value: V) -> None:
        self._replaced = key
        try:
            self._cache[key] = value
        except ValueError:  # larger than the whole table
            self._cache.pop(key, None)
            self._evicted(key, value)

    def drop(self, key: str) -> bool:
        return self._cache.pop(key, None) is not None

    def items(self) -> Iterable[tuple[str, V]]:
        return [(key, Cache.__getitem__(self._cache, key)) for key in self._cache]

    def clear(self) -> None:
        for key in [*self._cache]:
            del self._cache[key]

    def size(self) -> tuple[int, int]:
        return len(self._cache), int(self._cache.currsize)


_POLICIES: dict[PolicyName, Callable[[int, Weigher[V], Evicted[V]], Table[V]]] = {
    "lru": lambda *arguments: _Cachetools(LRUCache, *arguments),
    "lfu": lambda *arguments: _Cachetools(LFUCache, *arguments),
    "fifo": lambda *arguments: _Cachetools(FIFOCache, *arguments),
    "wtinylfu": TinyLFU,
    "ranked": Ranked,
}
