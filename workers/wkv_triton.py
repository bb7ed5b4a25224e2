"""The recurrence as one Triton kernel, for GPUs: a head's state stays in registers while its tokens pass."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from workers.checkpoint import HEAD_SIZE
from workers.plain import Fed


@triton.jit  # type: ignore[untyped-decorator]
def _sweep(
    r: Any, w: Any, k: Any, v: Any, a: Any, b: Any, y: Any, states: Any, starts: Any, slots: Any,
    heads: Any, size: tl.constexpr,
) -> None:  # fmt: skip
    """S <- S diag(w) + (S a) b^T + v k^T, y = S r, for one head of one segment; S lies transposed: rows are keys."""
    segment, head = tl.program_id(0), tl.program_id(1)
    lane = tl.arange(0, size)
    slot = tl.load(slots + segment)
    place = states + (slot * heads + head) * size * size + lane[:, None] * size + lane[None, :]
    state = tl.load(place)
    for t in range(tl.load(starts + segment), tl.load(starts + segment + 1)):
        at = (t * heads + head) * size + lane
        read = tl.sum(state * tl.load(a + at)[:, None], 0)
        state = state * tl.load(w + at)[:, None] + tl.load(b + at)[:, None] * read[None, :]
        state += tl.load(k + at)[:, None] * tl.load(v + at)[None, :]
        tl.store(y + at, tl.sum(state * tl.load(r + at)[:, None], 0))
    tl.store(place, state)


def in_triton(states: Tensor, fed: Fed, parts: list[Tensor]) -> Tensor:
    """What `plain.in_torch` does, for all segments at once, however long each of them is."""
    parts = [part.contiguous() for part in parts]
    y, heads = torch.empty_like(parts[0]), states.shape[1]
    _sweep[(len(fed.slots), heads)](*parts, y, states, fed.starts, fed.slots, heads, HEAD_SIZE)
    return y
