"""What one step of the model is fed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens (at least one) that follow what the slot has seen; `wanted` says whether the logits after the last are."""

    slot: int
    tokens: tuple[int, ...]
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Segments of different slots, their tokens one after the other."""

    segments: tuple[Segment, ...]

    @property
    def tokens(self) -> list[int]:
        return [token for segment in self.segments for token in segment.tokens]

    @property
    def slots(self) -> list[int]:
        return [segment.slot for segment in self.segments]

    @property
    def starts(self) -> list[int]:
        """Where each segment begins, and where the last one ends."""
        return [0, *accumulate(len(segment.tokens) for segment in self.segments)]

    @property
    def last(self) -> list[int]:
        """The index of each segment's last token."""
        return [end - 1 for end in self.starts[1:]]

    @property
    def wanted(self) -> list[int]:
        """The indices of the tokens after which the logits are wanted."""
        return [index for index, segment in zip(self.last, self.segments, strict=True) if segment.wanted]
