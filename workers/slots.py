"""The states of all sequences that a worker holds, in memory that is taken once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from workers.checkpoint import HEAD_SIZE, Shape


@dataclass(frozen=True, slots=True)
class State:
    """What one sequence has seen: `shift` (L, 2, C) and `wkv` (L, H, 64, 64), laid out as those of `Slots`."""

    shift: Tensor
    wkv: Tensor


class Slots:
    """The states of up to `count` sequences: token shifts and WKV matrices. Not for two threads at a time."""

    def __init__(self, shape: Shape, count: int, dtype: torch.dtype, device: str = "cpu") -> None:
        self.count = count
        self.shift = torch.zeros(shape.layers, 2, count, shape.width, dtype=dtype, device=device)
        """(L, 2, S, C): the previous input of each layer's time mix and channel mix."""
        self.wkv = torch.zeros(shape.layers, count, shape.heads, HEAD_SIZE, HEAD_SIZE, device=device)
        """(L, S, H, 64, 64) fp32, transposed: rows are key indices, columns value indices."""
        self._free = list(reversed(range(count)))

    def take(self, state: State | None = None) -> int:
        """A free slot, in the state given or that before the first token. Raises IndexError when none is free."""
        slot: int = self._free.pop()
        if state is not None:
            self.restore(slot, state)
        else:
            self.shift[:, :, slot] = 0
            self.wkv[:, slot] = 0
        return slot

    def copy(self, slot: int) -> State:
        """The slot's state, in memory of its own."""
        return State(self.shift[:, :, slot].clone(), self.wkv[:, slot].clone())

    def restore(self, slot: int, state: State) -> None:
        """Have the slot in a state that was copied from one of a like model."""
        self.shift[:, :, slot] = state.shift
        self.wkv[:, slot] = state.wkv

    def give_back(self, slot: int) -> None:
        """Have the slot free again."""
        self._free.append(slot)

    @staticmethod
    def bytes_of_one(shape: Shape, dtype: torch.dtype) -> int:
        """What the state of one sequence takes."""
        return shape.layers * shape.width * (2 * dtype.itemsize + 4 * HEAD_SIZE)

    @property
    def bytes(self) -> int:
        """What all the slots take."""
        return self.shift.nbytes + self.wkv.nbytes
