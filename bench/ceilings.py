"""What the machine can do at most: reading memory, and multiplying matrices."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from workers.checkpoint import Checkpoint
from workers.fused.products import Product, products, room_for
from workers.slots import Slots


class Machine:
    """How fast steps of a model can be here, measured anew in every round."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        tensors = checkpoint.tensors.items()
        self._multiplied = sum(t.numel() for name, t in tensors if t.squeeze().dim() == 2 and name != "emb.weight")
        self._state_bytes = Slots(checkpoint.shape, 1, dtype).bytes
        self._dtype = dtype
        self._reads: list[float] = []
        self._flops: list[float] = []

    def measure(self) -> None:
        """One more round."""
        self._reads.append(read_bytes_per_s())
        self._flops.append(flops_per_s(self._dtype))

    def tokens_per_s(self, rows: int) -> list[float]:
        """The roofline of so many rows, by round: weights read once or multiplied, whichever is longer, and states."""
        return [rows / self._step_s(rows, *round_) for round_ in zip(self._reads, self._flops, strict=True)]

    def _step_s(self, rows: int, read: float, flops: float) -> float:
        weights_s = self._multiplied * self._dtype.itemsize / read
        products_s = 2 * self._multiplied * rows / flops
        return max(weights_s, products_s) + 2 * rows * self._state_bytes / read

    @property
    def described(self) -> str:
        """The medians, in words."""
        read, flops = statistics.median(self._reads), statistics.median(self._flops)
        return f"reads {read / 1e9:.0f} GB/s, multiplies {flops / 1e9:.0f} GFLOP/s"


def read_bytes_per_s(size_bytes: int = 1 << 29, repeats: int = 5) -> float:
    """The fastest of several readings of memory that no cache holds, by all threads."""
    values = torch.ones(size_bytes // 4)
    return size_bytes / min(_timed(values.sum) for _ in range(repeats))


def flops_per_s(dtype: torch.dtype, size: int = 2048, repeats: int = 10) -> float:
    """The fastest of several products of square matrices, by torch or by the engine's own kernel."""
    a, b, out = (torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype), room_for(size, size, dtype))
    packed = products([Product(a, b, out)], torch.get_num_threads())
    fastest = min(_timed(product) for _ in range(repeats) for product in (lambda: a @ b, lambda: packed(size)))
    return 2 * size**3 / fastest


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
