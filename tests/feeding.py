"""Feeding a model by hand."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from workers.batch import Batch, Segment
from workers.rwkv7 import RWKV7

MAX_TOKENS = 256
"""Tokens that a step of the tests' models may be fed."""


def fed(model: RWKV7, slot: int, tokens: Sequence[int]) -> Tensor:
    """The logits (V,) after `tokens` more in a slot."""
    return model.forward(Batch((Segment(slot, tuple(tokens)),)))[0].cpu().clone()
