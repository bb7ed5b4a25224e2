"""What the machine can do at most: reading memory, and multiplying matrices."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from workers.fused.products import Product, products, room_for


def read_bytes_per_s(size_bytes: int = 1 << 29, repeats: int = 5) -> float:
    """The fastest of several readings of memory that no cache holds, by all threads."""
    values = torch.ones(size_bytes // 4)
    return size_bytes / min(_timed(lambda: values.sum()) for _ in range(repeats))


def flops_per_s(dtype: torch.dtype, size: int = 2048, repeats: int = 10) -> float:
    """The fastest of several products of square matrices, by torch or by the engine's own kernel."""
    a, b, out = (torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype), room_for(size, size, dtype))
    packed = products([Product(a, b, out)], torch.get_num_threads())
    fastest = min(_timed(product) for _ in range(repeats) for product in (lambda: a @ b, lambda: packed(size)))
    return 2 * size**3 / fastest


def decode_s(
    tensors: dict[str, Tensor], rows: int, state_bytes: int, dtype: torch.dtype, read: float, flops: float
) -> float:
    """The least time of one step of `rows` rows: weights read once or multiplied, whichever is longer, and states."""
    multiplied = sum(t.numel() for name, t in tensors.items() if t.squeeze().dim() == 2 and name != "emb.weight")
    weights_s = multiplied * dtype.itemsize / read
    products_s = 2 * multiplied * rows / flops
    return max(weights_s, products_s) + 2 * rows * state_bytes / read


def _timed(call: object) -> float:
    started = time.perf_counter()
    call()  # type: ignore[operator]
    return time.perf_counter() - started
