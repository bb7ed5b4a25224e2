"""Tuned initial states: what a model is given to have seen before the first token, from files of RWKV state tuning.

A file holds `blocks.{i}.att.time_state` (H, 64, 64) for each layer, rows value indices and columns key indices, as in
RWKV-7's training and in the `rwkv` package (RWKV-Runner loads those of version 7 as they are; those of 5 and 6 are
transposed). The token shifts begin with zeros. A state fits the model that it was tuned on, and only that one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from echo_tasks.errors import CheckpointError
from workers import checkpoint
from workers.checkpoint import HEAD_SIZE, Shape
from workers.slots import State

_NAME = "[A-Za-z0-9_.-]{1,64}"
"""What messages take for a name."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """An initial state, and a digest of its numbers."""

    state: State
    digest: bytes


def load_all(folder: Path, shape: Shape, dtype: torch.dtype) -> dict[str, Tuned]:
    """The state of every NAME.pth of a folder, by name. Raises CheckpointError."""
    if not folder.is_dir():
        raise CheckpointError(folder, "no such folder of initial states")
    paths = sorted(folder.glob("*.pth"))
    for path in paths:
        if not re.fullmatch(_NAME, path.stem):
            raise CheckpointError(path, f"its name is no name for a request: {_NAME} is")
    return {path.stem: load(path, shape, dtype) for path in paths}


def load(path: Path, shape: Shape, dtype: torch.dtype) -> Tuned:
    """The state of a file, for a model of this shape. Nothing in the file is executed. Raises CheckpointError."""
    tensors = checkpoint.tensors_of(path)
    expected = (shape.heads, HEAD_SIZE, HEAD_SIZE)
    names = [f"blocks.{layer}.att.time_state" for layer in range(shape.layers)]
    for name in names:
        if name not in tensors:
            raise CheckpointError(path, f"not an initial state of this model: {name} is missing")
        if tuple(tensors[name].shape) != expected:
            raise CheckpointError(path, f"{name} has shape {tuple(tensors[name].shape)}, not {expected}")
        if not tensors[name].isfinite().all():
            raise CheckpointError(path, f"{name} holds what is no finite number")
    if len(tensors) > len(names):
        surplus = min(tensors.keys() - set(names))
        raise CheckpointError(path, f"{surplus} is no part of an initial state of this model")
    wkv = torch.stack([tensors[name].float().transpose(1, 2) for name in names])
    return Tuned(State(torch.zeros(shape.layers, 2, shape.width, dtype=dtype), wkv.contiguous()), _digest(wkv))


def digests(tuned: Mapping[str, Tuned]) -> str:
    """The names and contents of all states, in a line: another state under an old name gives another line."""
    return " ".join(f"{name}={tuned[name].digest.hex()}" for name in sorted(tuned))


def _digest(wkv: Tensor) -> bytes:
    return hashlib.sha256(wkv.contiguous().view(-1).view(torch.uint8).numpy().data).digest()
