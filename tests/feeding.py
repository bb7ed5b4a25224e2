"""Feeding a model by hand."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from torch import Tensor

from workers.batch import Batch, Segment
from workers.rwkv7 import RWKV7
from workers.slots import Slots

MAX_TOKENS = 96
"""Tokens that a step of the tests' models may be fed."""

_PATIENCE_S = 60


def fed(model: RWKV7, slot: int, tokens: Sequence[int]) -> Tensor:
    """The logits (V,) after `tokens` more in a slot."""
    return model.forward(Batch((Segment(slot, tuple(tokens)),)))[0].cpu().clone()


def assert_free(slots: Slots) -> None:
    """Each of the slots is free, and no other."""
    taken = [slots.take() for _ in range(slots.count)]
    assert sorted(taken) == [*range(slots.count)]
    with pytest.raises(IndexError):
        slots.take()
    for slot in reversed(taken):
        slots.give_back(slot)


class Reading:
    """A model that counts the tokens it is fed, and may be held before its first step."""

    def __init__(self, model: RWKV7) -> None:
        self.shape, self.slots, self.max_tokens = model.shape, model.slots, model.max_tokens
        self.sampler, self.watch, self.threads = model.sampler, model.watch, 1
        self._model = model
        self.fed = 0
        self.go = threading.Event()
        self.go.set()

    def forward(self, batch: Batch) -> Tensor:
        self.go.wait(_PATIENCE_S)
        self.fed += len(batch.tokens)
        return self._model.forward(batch)
