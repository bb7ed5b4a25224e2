"""A small random checkpoint in the official layout, for a farm that has been given no model."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from echo_tasks.errors import CheckpointError
from workers.checkpoint import HEAD_SIZE

LAYERS, WIDTH, VOCABULARY, LOW_RANK = 2, 128, 65536, 32


def ensure(folder: Path) -> Path:
    """The untrained checkpoint's path in `folder`, made on first use; the same bytes of weights everywhere.

    Workers that start at once each write a file of their own, and the last rename wins.
    """
    path = folder / f"untrained-l{LAYERS}-c{WIDTH}.pth"
    if path.exists():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as own:
            torch.save(weights(), Path(own) / path.name)
            os.replace(Path(own) / path.name, path)
    except (OSError, RuntimeError) as error:  # torch raises the latter on a full disk
        raise CheckpointError(path, f"cannot be written: {error}") from error
    return path


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
        for name in "wavg":
            tensors[f"{block}.att.{name}1"] = normal(width, LOW_RANK, scale=width**-0.5)
            tensors[f"{block}.att.{name}2"] = normal(LOW_RANK, width, scale=LOW_RANK**-0.5)
        for name in ("receptance", "key", "value", "output"):
            tensors[f"{block}.att.{name}.weight"] = normal(width, width, scale=width**-0.5)
        tensors[f"{block}.ffn.x_k"] = vector(0, 1)
        tensors[f"{block}.ffn.key.weight"] = normal(inner, width, scale=width**-0.5)
        tensors[f"{block}.ffn.value.weight"] = normal(width, inner, scale=inner**-0.5)
    return tensors | norm("ln_out") | {"head.weight": normal(vocabulary, width, scale=0.25)}
