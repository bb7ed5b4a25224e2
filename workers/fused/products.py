"""Products with weights that are packed once; several of them are one pass.

On our own kernel where the processor has what that is written for, else on oneDNN's. Measured with bf16, 3072 x 768,
on two cores (Zen 4, 452 GFLOP/s at most): 1 row 125 microseconds, oneDNN 171; 64 rows 685, oneDNN 760; 512 rows
5.3 ms, oneDNN 5.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from llvmlite import binding
from torch import Tensor
from torch.nn import functional as F

from workers.fused import gemm
from workers.fused.native import Kernel, compiled
from workers.fused.tile import COLUMNS, ROWS

_TASKS_A_THREAD = 4
"""Enough for threads to end together."""

_PACKED_FOR = 64
"""Rows that oneDNN's packing is tuned for; what it costs others is within the noise."""

Products = Callable[[int], None]
"""Does its products for so many rows."""


@dataclass(frozen=True, slots=True)
class Product:
    """out[:, :outputs] = x @ weight.t(), for `weight` (outputs, in), `x` (rows, in) and `out` made by `room_for`."""

    x: Tensor
    weight: Tensor
    out: Tensor


def room_for(rows: int, outputs: int, dtype: torch.dtype) -> Tensor:
    """Memory for what comes out: in whole blocks of columns, of which those past `outputs` mean nothing."""
    return torch.empty(rows, padded(outputs), dtype=dtype)


def padded(outputs: int) -> int:
    """In whole blocks of columns."""
    return -(-outputs // COLUMNS) * COLUMNS


def products(parts: Sequence[Product], threads: int) -> Products:
    """What does all the products given, on memory that stays where it is; their weights need not be kept."""
    made = _Packed if is_own(parts[0].weight.dtype) else _Torch
    return made(parts, threads)


def is_own(dtype: torch.dtype) -> bool:
    """Whether our own kernel is the faster one: it lacks the matrix registers of newer Intel processors."""
    features = binding.get_host_cpu_features()
    if dtype == torch.bfloat16:
        return bool(features.get("avx512bf16")) and not features.get("amx-bf16")
    return bool(features.get("avx512f"))


def has_bf16() -> bool:
    """Whether the processor multiplies bf16 as such, by our kernel or oneDNN's."""
    features = binding.get_host_cpu_features()
    return any(features.get(name) for name in ("avx512bf16", "amx-bf16", "bf16"))


class _Packed:
    """On our own kernel."""

    def __init__(self, parts: Sequence[Product], threads: int) -> None:
        self._weights = [gemm.packed(part.weight) for part in parts]
        described = [
            gemm.described(part.x, packed, part.out) for part, packed in zip(parts, self._weights, strict=True)
        ]
        self._described = torch.tensor(described)
        self._blocks = sum(len(packed) for packed in self._weights)
        self._threads = threads
        kernel = compiled(gemm.multiply, parts[0].weight.dtype)
        self._multiply = Kernel(kernel, [0, 0, self._described.data_ptr(), threads], threads)

    def __call__(self, rows: int) -> None:
        groups = min(-(-rows // ROWS), -(-_TASKS_A_THREAD * self._threads // self._blocks))
        self._multiply(self._blocks * groups, rows, groups)


class _Torch:
    """On oneDNN's, or any that torch has."""

    def __init__(self, parts: Sequence[Product], threads: int) -> None:
        self._parts = [(part.x, _linear(part.weight), part.out[:, : len(part.weight)]) for part in parts]

    def __call__(self, rows: int) -> None:
        for x, product, out in self._parts:
            out[:rows] = product(x[:rows])


def _linear(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """The product, with a weight that torch need not rearrange each time: bf16, 3072 x 768 takes half as long."""
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _PACKED_FOR)
        product = torch.ops.mkldnn._linear_pointwise.default
        product(weight.new_zeros(1, weight.shape[1]), packed, None, "none", [], "")
    except (AttributeError, RuntimeError):  # a torch without oneDNN, or a processor without this number format
        return lambda x: F.linear(x, weight)
    return lambda x: product(x, packed, None, "none", [], "")
