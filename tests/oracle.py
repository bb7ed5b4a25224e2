"""The `rwkv` package, whose answers ours are compared with."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from workers.tokenizer import END_OF_TEXT, Tokenizer


def load(checkpoint: Path) -> Any:
    """The package's model in fp32. It reads its switch from the environment while it is imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RWKV_V7_ON", "1")
        package = importlib.import_module("rwkv.model")
        return package.RWKV(str(checkpoint.with_suffix("")), "cpu fp32")


def greedy(
    oracle: Any, tokenizer: Tokenizer, prompt: str, count: int, initial: Mapping[str, Tensor] | None = None
) -> list[int]:
    """The package's greedy tokens: the prompt in one go, undecodable ids masked, an end at id 0.

    `initial` is what a file of state tuning holds, for the package's own layout.
    """
    undecodable = tokenizer.undecodable(65536)
    state = oracle.generate_zero_state()
    for name, matrices in (initial or {}).items():
        state[3 * int(name.split(".")[1]) + 1] = matrices.float().clone()
    logits, state = oracle.forward(tokenizer.encode(prompt), state)
    tokens: list[int] = []
    while len(tokens) < count and END_OF_TEXT not in tokens:
        logits[undecodable] = -torch.inf
        tokens.append(int(logits.argmax()))
        logits, state = oracle.forward(tokens[-1], state)
    return tokens
