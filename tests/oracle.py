"""The `rwkv` package, whose answers ours are compared with, and weights for both."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench import untrained
from workers.tokenizer import END_OF_TEXT, Tokenizer


class Oracle:
    """The package's model in fp32, which remembers what it was asked."""

    def __init__(self, checkpoint: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RWKV_V7_ON", "1")  # the package reads it while it is imported
            package = importlib.import_module("rwkv.model")
            self._model = package.RWKV(str(checkpoint.with_suffix("")), "cpu fp32")
        self._after: dict[tuple[int, ...], tuple[Tensor, list[Tensor]]] = {}
        self._answers: dict[str, list[int]] = {}

    def after(self, tokens: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """The logits (V,) and the state after `tokens`, which are fed in one go."""
        key = tuple(tokens)
        if key not in self._after:
            self._after[key] = self._model.forward([*key], None)
        logits, state = self._after[key]
        return logits.clone(), [part.clone() for part in state]

    def logits(self, tokens: Sequence[int]) -> Tensor:
        """The logits (V,) after `tokens`."""
        return self.after(tokens)[0]

    def following(self, token: int, state: list[Tensor]) -> Tensor:
        """The logits (V,) after one token more."""
        logits: Tensor = self._model.forward(token, state)[0]
        return logits

    def greedy(
        self, tokenizer: Tokenizer, prompt: str, count: int, initial: Mapping[str, Tensor] | None = None
    ) -> list[int]:
        """The greedy tokens: the prompt in one go, undecodable ids masked, an end at id 0.

        `initial` is what a file of state tuning holds, for the package's own layout.
        """
        if initial is not None:
            return [*islice(self._said(tokenizer, prompt, initial), count)]
        known = self._answers.get(prompt, [])
        if len(known) < count and END_OF_TEXT not in known:
            known = self._answers[prompt] = [*islice(self._said(tokenizer, prompt, {}), count)]
        return known[:count]

    def _said(self, tokenizer: Tokenizer, prompt: str, initial: Mapping[str, Tensor]) -> Iterator[int]:
        state: Any = self._model.generate_zero_state()
        for name, matrices in initial.items():
            state[3 * int(name.split(".")[1]) + 1] = matrices.float().clone()
        logits, state = self._model.forward(tokenizer.encode(prompt), state)
        undecodable = tokenizer.undecodable(len(logits))
        token = None
        while token != END_OF_TEXT:
            logits[undecodable] = -torch.inf
            token = int(logits.argmax())
            yield token
            logits, state = self._model.forward(token, state)


def uneven(size: int) -> dict[str, Tensor]:
    """A tiny model's weights for so many tokens, with norms that are uneven, so that a swapped one shows."""
    weights = untrained.weights(layers=2, width=128, vocabulary=size)
    noise = torch.Generator().manual_seed(1)
    for name in [name for name in weights if ".ln" in name or name.startswith("ln_")]:
        moved = weights[name].float() + 0.2 * torch.randn(weights[name].shape, generator=noise)
        weights[name] = moved.to(torch.bfloat16)
    return weights
