"""The RWKV-7 (x070) forward pass over a batch of sequences, after BlinkDL's reference.

Source of the recurrence: RWKV-7 "Goose" (arXiv 2503.14456), and the `rwkv` package, which is our oracle.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from workers import fused, plain, sampler
from workers.batch import Batch
from workers.checkpoint import HEAD_SIZE, Checkpoint
from workers.slots import Slots
from workers.stopwatch import Stopwatch

Kernels = Literal["fused", "plain"]


class Sampler(Protocol):
    """Chooses tokens for one vocabulary."""

    def choose(self, logits: Tensor, rows: Sequence[sampler.Row]) -> list[sampler.Choice]:
        """A choice for every row of logits (R, V)."""


class Layers(Protocol):
    """The layers of a model, and the states that they read and leave behind."""

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """What the layers make of x (N, C), of the wanted tokens; the segments' slots move on."""


class RWKV7:
    """A model with the slots of its sequences' states. Not for two threads at a time."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
        *,
        slots: int = 1,
        max_tokens: int = 512,
        kernels: Kernels = "fused",
        device: str = "cpu",
    ) -> None:
        """`max_tokens` is how many tokens a batch may have; `kernels` says which implementation runs the layers."""
        self.shape = checkpoint.shape
        self.dtype = dtype
        self.device = torch.device(device)
        self.max_tokens = max_tokens
        self.threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        self.slots = Slots(self.shape, slots, dtype, device)
        self.watch = Stopwatch()
        self._on_cpu = kernels == "fused" and self.device.type == "cpu"

        def weight(name: str) -> Tensor:
            """In memory of its own: while any part of the checkpoint's file is in use, all of it is."""
            return checkpoint.tensors[name].squeeze().to(self.device, dtype, copy=True)

        norm = weight("blocks.0.ln0.weight"), weight("blocks.0.ln0.bias")
        self._embedding = F.layer_norm(weight("emb.weight"), (self.shape.width,), *norm)
        self._norm_out = weight("ln_out.weight"), weight("ln_out.bias")
        blocks = (_block(checkpoint, weight, layer) for layer in range(self.shape.layers))  # one at a time in memory
        if self._on_cpu:
            logits = fused.Head.size(slots, self.shape.vocabulary)
            layers = fused.Layers(blocks, self.slots, max_tokens, self.watch, logits)
            self._layers: Layers = layers
            self._head: Callable[[Tensor], Tensor] = fused.Head(weight("head.weight"), slots, layers.memory)
        else:
            recurrence = _in_triton() if kernels == "fused" else plain.in_torch
            self._layers = plain.Layers(blocks, self.slots, self.watch, recurrence)
            self._head = partial(F.linear, weight=weight("head.weight"))

    def run_on(self, threads: int) -> None:
        """Have this process's steps run on so many threads from now on, `threads` of this model at most."""
        torch.set_num_threads(threads)
        fused.run_on(threads)

    def sampler(self, banned: Sequence[int]) -> Sampler:
        """A sampler for this model's logits, which never chooses one of `banned`."""
        if self._on_cpu:
            return fused.Sampler(banned, self.shape.vocabulary, self.dtype, self.slots.count)
        return sampler.Sampler(banned, self.device)

    @torch.inference_mode()
    def forward(self, batch: Batch) -> Tensor:
        """Feed every segment to its slot; logits (wanted segments, V), good until the next call."""
        x = self._layers.forward(self._embedding[torch.tensor(batch.tokens, device=self.device)], batch)
        logits = self._head(F.layer_norm(x, (self.shape.width,), *self._norm_out))
        self.watch.lap("linear")
        return logits


def _in_triton() -> plain.Recurrence:
    """The recurrence for a GPU; torch's own where Triton, which comes with torch for CUDA, is missing."""
    if importlib.util.find_spec("triton") is None:
        return plain.in_torch
    return importlib.import_module("workers.wkv_triton").in_triton  # type: ignore[no-any-return]


def _block(checkpoint: Checkpoint, weight: Callable[[str], Tensor], layer: int) -> plain.Block:
    prefix = f"blocks.{layer}."
    block = {name.removeprefix(prefix): weight(name) for name in checkpoint.tensors if name.startswith(prefix)}
    block["att.r_k"] = block["att.r_k"].reshape(checkpoint.shape.heads, HEAD_SIZE)
    return block
