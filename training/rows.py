"""Documents packed into rows of equal length: what the training loop feeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Document:
    """Token ids, and how much the prediction of each one counts (the first is predicted by nothing)."""

    tokens: list[int]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows (B, T): tokens, the next tokens, what predicting those counts, and where documents begin."""

    tokens: Tensor
    targets: Tensor
    weights: Tensor
    fresh: Tensor

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return Batch(*(part.to(device) for part in (self.tokens, self.targets, self.weights, self.fresh)))


def batches(documents: Iterable[Document], rows: int, length: int) -> Iterator[Batch]:
    """Batches of `rows` rows of `length` tokens, filled with whole documents in their order.

    A document that is longer than a row is cut; what is left of a row counts nothing, and neither does the
    step from one document to the next.
    """
    waiting: list[list[Document]] = []
    row: list[Document] = []
    room = length + 1
    for document in documents:
        size = min(len(document.tokens), length + 1)
        if size > room:
            waiting.append(row)
            row, room = [], length + 1
            if len(waiting) == rows:
                yield _batch(waiting, length)
                waiting = []
        row.append(document)
        room -= size


def _batch(rows: list[list[Document]], length: int) -> Batch:
    tokens = torch.zeros(len(rows), length + 1, dtype=torch.long)
    weights = torch.zeros(len(rows), length + 1)
    fresh = torch.zeros(len(rows), length + 1, dtype=torch.bool)
    fresh[:, 0] = True
    for index, documents in enumerate(rows):
        at = 0
        for document in documents:
            size = min(len(document.tokens), length + 1 - at)
            tokens[index, at : at + size] = torch.tensor(document.tokens[:size])
            weights[index, at + 1 : at + size] = torch.tensor(document.weights[1:size])
            fresh[index, at] = True
            at += size
        if at <= length:
            fresh[index, at] = True
    return Batch(tokens[:, :-1], tokens[:, 1:], weights[:, 1:], fresh[:, :-1])
