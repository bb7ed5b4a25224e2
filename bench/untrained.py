"""Random weights in the official layout: models of any size, for benchmarks and tests."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.checkpoint import HEAD_SIZE

LAYERS, WIDTH, VOCABULARY = 2, 128, 65536


def weights(
    *, layers: int = LAYERS, width: int = WIDTH, vocabulary: int = VOCABULARY, seed: int = 7
) -> dict[str, Tensor]:
    """Random bf16 weights under the official names and shapes."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float) -> Tensor:
        return (torch.randn(shape, generator=random) * scale).to(torch.bfloat16)

    def vector(low: float, high: float) -> Tensor:
        uniform = torch.rand((1, 1, width), generator=random)
        return (low + (high - low) * uniform).to(torch.bfloat16)

    def norm(name: str) -> dict[str, Tensor]:
        return {
            f"{name}.weight": torch.ones(width, dtype=torch.bfloat16),
            f"{name}.bias": torch.zeros(width, dtype=torch.bfloat16),
        }

    inner = 4 * width
    tensors = {"emb.weight": normal(vocabulary, width, scale=0.5), **norm("blocks.0.ln0")}
    for layer in range(layers):
        block = f"blocks.{layer}"
        tensors |= norm(f"{block}.ln1") | norm(f"{block}.ln2") | norm(f"{block}.att.ln_x")
        tensors |= {f"{block}.att.x_{name}": vector(0, 1) for name in "rwkvag"}
        tensors |= {
            f"{block}.att.w0": vector(-6, 1),
            f"{block}.att.a0": vector(-1, 1),
            f"{block}.att.v0": vector(-1, 1),
            f"{block}.att.k_k": vector(0.5, 1),
            f"{block}.att.k_a": vector(0.8, 1.2),
            f"{block}.att.r_k": normal(width // HEAD_SIZE, HEAD_SIZE, scale=0.1),
        }
        for name, rank in _ranks(width).items():
            tensors[f"{block}.att.{name}1"] = normal(width, rank, scale=width**-0.5)
            tensors[f"{block}.att.{name}2"] = normal(rank, width, scale=rank**-0.5)
        for name in ("receptance", "key", "value", "output"):
            tensors[f"{block}.att.{name}.weight"] = normal(width, width, scale=width**-0.5)
        tensors[f"{block}.ffn.x_k"] = vector(0, 1)
        tensors[f"{block}.ffn.key.weight"] = normal(inner, width, scale=width**-0.5)
        tensors[f"{block}.ffn.value.weight"] = normal(width, inner, scale=inner**-0.5)
    return tensors | norm("ln_out") | {"head.weight": normal(vocabulary, width, scale=0.25)}


def _ranks(width: int) -> dict[str, int]:
    """The low ranks of an official model of this width (RWKV-LM, RWKV-v7/train_temp/src/model.py)."""
    sizes = {"w": 1.8 * width**0.5, "a": 1.8 * width**0.5, "v": 1.3 * width**0.5, "g": 0.6 * width**0.8}
    return {name: max(32, 32 * round(size / 32)) for name, size in sizes.items()}
