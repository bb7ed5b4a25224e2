"""From what the layers leave to logits over the vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.fused.products import Product, padded, products


class Head:
    """x (R, C) -> logits (R, V), for up to `max_rows` rows; they lie in the memory given."""

    def __init__(self, weight: Tensor, max_rows: int, memory: Tensor) -> None:
        """`memory` is flat, and has the `size` of so many rows at least."""
        self._vocabulary, width = weight.shape
        self._x = torch.empty(max_rows, width, dtype=weight.dtype)
        self._logits = memory[: self.size(max_rows, self._vocabulary)].view(max_rows, -1)
        self._product = products([Product(self._x, weight, self._logits)], torch.get_num_threads())

    @staticmethod
    def size(rows: int, vocabulary: int) -> int:
        """How many elements that many rows of logits take."""
        return rows * padded(vocabulary)

    def __call__(self, x: Tensor) -> Tensor:
        rows = len(x)
        if rows:
            self._x[:rows] = x
            self._product(rows)
        return self._logits[:rows, : self._vocabulary]
