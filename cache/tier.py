"""What a tier is: bytes under a key, for a while. A fault of a tier is a miss, never an error of its caller."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import Final, Literal, NamedTuple, TypeAlias


class _Miss(Enum):
    MISS = "MISS"

    def __repr__(self) -> str:
        return "MISS"


MISS: Final = _Miss.MISS
"""What a tier answers for a key that it does not hold; never None, which a caller could mistake for a value."""

Miss = Literal[_Miss.MISS]

Level = Literal["l1", "l2", "l3"]

Stamp: TypeAlias = tuple[tuple[str, str], ...]
"""Tags, each with the version that it had before the value was computed."""


class Entry(NamedTuple):
    """A value with all that travels with it from tier to tier. Times are seconds since the epoch.

    `value` None is a negative result: it is known that there is nothing. From `stale_at` on it should be computed
    again, from `expires_at` on it is gone.
    """

    value: bytes | None
    made_at: float
    stale_at: float
    expires_at: float
    stamp: Stamp = ()


class Size(NamedTuple):
    """What a tier holds now (expired entries among it), and what it has done since it began."""

    entries: int
    bytes: int
    evictions: int
    saved_bytes: int = 0


class TierFault(Exception):
    """A tier could not do its work: it is away, or full."""


class DamagedEntry(TierFault):
    """What lay under a key was not what had been written; it is gone now. The tier itself is well."""


def key_bytes(key: str) -> bytes:
    """The key as other programs take it. Any text is one: lone surrogates, too, which come with JSON."""
    return key.encode("utf-8", "surrogatepass")


class Tier(ABC):
    """One tier. Every method may raise TierFault, and nothing else."""

    name: Level
    is_everybodys: bool = False
    """Whether all processes have the same one: what one of them clears is cleared for all."""

    @abstractmethod
    def get(self, key: str) -> Entry | Miss:
        """The entry under `key`, or MISS when there is none or it has expired."""

    @abstractmethod
    def set(self, key: str, entry: Entry) -> None:
        """Keep the entry; it may be evicted before its time."""

    @abstractmethod
    def add(self, key: str, entry: Entry) -> None:
        """Keep the entry if there is none under the key."""

    @abstractmethod
    def delete(self, key: str) -> bool:
        """Forget the key; whether it was held."""

    @abstractmethod
    def clear(self) -> int:
        """Forget everything; how many entries that were."""

    @abstractmethod
    def sweep(self) -> int:
        """Make room of what has expired, where that does not happen by itself; how many entries that were."""

    @abstractmethod
    def size(self) -> Size:
        """What it holds."""
