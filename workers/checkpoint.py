"""Loading official RWKV-7 (x070) checkpoints: safely, and with a clear word about what is wrong."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from echo_tasks.errors import CheckpointError

HEAD_SIZE = 64

T = TypeVar("T")

_ATT_VECTORS = ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "w0", "a0", "k_k", "k_a")
_ATT_LOW_RANK = ("w", "a", "g")
_ATT_SQUARE = ("receptance", "key", "value", "output")


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of a model, read from its tensors."""

    layers: int
    width: int
    vocabulary: int

    @property
    def heads(self) -> int:
        return self.width // HEAD_SIZE


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A validated checkpoint: its tensors under their official names, in their stored number format."""

    path: Path
    digest: str
    shape: Shape
    tensors: dict[str, Tensor]


def load(path: Path) -> Checkpoint:
    """Read and check an official `.pth`. Nothing in the file is executed. Raises CheckpointError."""
    return _guarded(path, _checked)


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The named tensors of a `.pth`, whatever they are. Nothing in the file is executed. Raises CheckpointError."""
    return _guarded(path, _tensors)


def _guarded(path: Path, checked: Callable[[Path, object], T]) -> T:
    if not path.is_file():
        raise CheckpointError(path, "no such file")
    try:
        return checked(path, torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path)))
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(path, "refused: its pickle holds more than tensors, or is damaged") from error
    except Exception as error:  # there is no telling what a damaged file makes torch raise
        raise CheckpointError(path, f"damaged or not a checkpoint ({_first_line(error)})") from error


def _checked(path: Path, content: object) -> Checkpoint:
    tensors = _tensors(path, content)
    shape = _shape(path, tensors)
    for name, expected in _expected(shape, tensors).items():
        if name not in tensors:
            raise CheckpointError(path, f"not a whole RWKV-7 checkpoint: {name} is missing")
        if tuple(tensors[name].squeeze().shape) != expected:
            raise CheckpointError(path, f"{name} has shape {tuple(tensors[name].shape)}, not {expected}")
    return Checkpoint(path, _digest(tensors), shape, tensors)


def _tensors(path: Path, content: object) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not content:
        raise CheckpointError(path, "not a checkpoint: it holds no table of tensors")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(path, f"not a checkpoint: {name!r} is not a named tensor")
        if not tensor.is_floating_point():
            raise CheckpointError(path, f"{name!r} has number format {tensor.dtype}, not a floating one")
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_neg():
            raise CheckpointError(path, f"{name!r} is not a plain tensor")
    return content


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of the tensors by name: the same weights have the same digest, however a file packs them."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_zip(path: Path) -> bool:
    """Whether the file can be mapped into memory: torch's older, non-zip files can not."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _shape(path: Path, tensors: dict[str, Tensor]) -> Shape:
    if any(".att.time_" in name for name in tensors):
        raise CheckpointError(path, "an RWKV-4, 5 or 6 checkpoint; RWKV-7 (x070) is served")
    if "emb.weight" not in tensors or "blocks.0.att.r_k" not in tensors:
        raise CheckpointError(path, "not an RWKV-7 checkpoint: emb.weight or blocks.0.att.r_k is missing")
    if any(".ffn.s_emb" in name or ".qkv." in name for name in tensors):
        raise CheckpointError(path, "an RWKV-7a or 7b checkpoint (DeepEmbed, DEA); plain RWKV-7 is served")
    if tensors["emb.weight"].dim() != 2 or tensors["blocks.0.att.r_k"].dim() != 2:
        raise CheckpointError(path, "not an RWKV-7 checkpoint: emb.weight and att.r_k must be matrices")
    vocabulary, width = tensors["emb.weight"].shape
    heads, head_size = tensors["blocks.0.att.r_k"].shape
    if head_size != HEAD_SIZE or heads * head_size != width:
        raise CheckpointError(path, f"head size {head_size} x {heads} for width {width}; head size 64 is served")
    layers = 1 + max(int(m[1]) for name in tensors if (m := re.match(r"blocks\.(\d+)\.", name)))
    if layers > len(tensors):
        raise CheckpointError(path, f"not a whole RWKV-7 checkpoint: block {layers - 1} of {len(tensors)} tensors")
    return Shape(layers, width, vocabulary)


def _expected(shape: Shape, tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Every tensor's name and squeezed shape; the inner sizes, which vary, are taken from the first factor."""
    width, vocabulary = shape.width, shape.vocabulary
    expected: dict[str, tuple[int, ...]] = {
        "emb.weight": (vocabulary, width),
        "head.weight": (vocabulary, width),
    }
    for norm in ("ln_out", "blocks.0.ln0"):
        expected |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
    for layer in range(shape.layers):
        block = f"blocks.{layer}"
        for norm in (f"{block}.ln1", f"{block}.ln2", f"{block}.att.ln_x"):
            expected |= {f"{norm}.weight": (width,), f"{norm}.bias": (width,)}
        expected |= {f"{block}.att.{name}": (width,) for name in _ATT_VECTORS}
        expected |= {f"{block}.att.{name}.weight": (width, width) for name in _ATT_SQUARE}
        expected[f"{block}.att.r_k"] = (shape.heads, HEAD_SIZE) if shape.heads > 1 else (HEAD_SIZE,)
        low_rank = _ATT_LOW_RANK if layer == 0 else (*_ATT_LOW_RANK, "v")  # layer 0's own v is v_first
        if layer > 0:
            expected[f"{block}.att.v0"] = (width,)
        for name in low_rank:
            inner = _size(tensors, f"{block}.att.{name}1", -1)
            expected |= {f"{block}.att.{name}1": (width, inner), f"{block}.att.{name}2": (inner, width)}
        inner = _size(tensors, f"{block}.ffn.key.weight", 0)
        expected |= {
            f"{block}.ffn.x_k": (width,),
            f"{block}.ffn.key.weight": (inner, width),
            f"{block}.ffn.value.weight": (width, inner),
        }
    return expected


def _size(tensors: dict[str, Tensor], name: str, dim: int) -> int:
    tensor = tensors.get(name)
    return int(tensor.shape[dim]) if tensor is not None and tensor.dim() >= 2 else 0


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:160]
