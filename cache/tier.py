"""What a tier is: bytes under a key, for a while. A fault of a tier is a miss, never an error of its caller."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal


class _Miss(Enum):
    MISS = "MISS"

    def __repr__(self) -> str:
        return "MISS"


MISS: Final = _Miss.MISS
"""What a tier answers for a key that it does not hold; never None, which a caller could mistake for a value."""

Miss = Literal[_Miss.MISS]


@dataclass(frozen=True, slots=True)
class Entry:
    """A value, and the seconds that it is still good for."""

    value: bytes
    ttl_s: float


class TierFault(Exception):
    """A tier could not do its work: it is away, or what it holds is damaged."""


class Tier(ABC):
    """One tier. Every method may raise TierFault, and nothing else."""

    name: str

    @abstractmethod
    def get(self, key: str) -> Entry | Miss:
        """The entry under `key`, or MISS when there is none or it has expired."""

    @abstractmethod
    def set(self, key: str, entry: Entry) -> None:
        """Keep the entry; it may be evicted before its time."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Forget the key, if it is held."""
