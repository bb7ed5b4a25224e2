"""The RWKV-7 recurrence in plain torch: a token at a time, and many at once as matrix products over chunks.

Both are differentiable. S_t = S_{t-1} diag(w_t) + (S_{t-1} a_t) b_t^T + v_t k_t^T and y_t = S_t r_t. With W_t the
product of a chunk's decays up to t, and â_t = W_{t-1} a_t, b̂_t = b_t / W_t, k̂_t = k_t / W_t, r̂_t = W_t r_t, what
the state says to a_t is u_t = S_0 â_t + sum_{i<t} (u_i (b̂_i · â_t) + v_i (k̂_i · â_t)): a triangular system, which is
solved for all chunks at once. Only S_0 goes from chunk to chunk. Source: the delta rule's WY form (arXiv 2406.06484).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 16
"""Tokens a chunk: the decays of more would leave fp32's range when they are divided by."""

_FORGOTTEN = 1e-12
"""What a decay of 0 counts as."""


def step(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """y (B, H, N) of one token for each of B states (B, H, N, N), and the states after it; all are (B, H, N)."""
    read = state @ a.unsqueeze(-1)
    state = state * w.unsqueeze(-2) + read * b.unsqueeze(-2) + v.unsqueeze(-1) * k.unsqueeze(-2)
    return (state @ r.unsqueeze(-1)).squeeze(-1), state


def chunked(r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """y (B, T, H, N) and the last state, from `state` (B, H, N, N); all are (B, T, H, N), w the decay in 0..1."""
    batch, length, heads, size = r.shape
    r, k, v, a, b = (_in_chunks(x) for x in (r, k, v, a, b))
    logs = _in_chunks(w.clamp_min(_FORGOTTEN).log())  # (B, chunks, H, CHUNK, N), as all of them now
    decayed = logs.cumsum(-2)
    a, r = a * (decayed - logs).exp(), r * decayed.exp()
    b, k = b * (-decayed).exp(), k * (-decayed).exp()
    system = torch.eye(CHUNK, dtype=r.dtype, device=r.device) - (a @ b.mT).tril(-1)
    both = torch.cat([a, (a @ k.mT).tril(-1) @ v], -1)
    from_state, from_chunk = torch.linalg.solve_triangular(system, both, upper=False, unitriangular=True).split(
        size, -1
    )
    last = decayed[..., -1:, :].exp()
    carried = (torch.eye(size, dtype=r.dtype, device=r.device) + from_state.mT @ b) * last
    added = (from_chunk.mT @ b + v.mT @ k) * last
    states = [state]
    for chunk in range(carried.shape[1]):
        states.append(states[-1] @ carried[:, chunk] + added[:, chunk])
    before = torch.stack(states[:-1], 1).mT
    read = from_state @ before + from_chunk
    y = r @ before + (r @ b.mT).tril() @ read + (r @ k.mT).tril() @ v
    return y.transpose(2, 3).reshape(batch, -1, heads, size)[:, :length], states[-1]


def _in_chunks(x: Tensor) -> Tensor:
    """(B, T, H, N) as (B, chunks, H, CHUNK, N), filled up with tokens of zeros, which change no state."""
    batch, length, heads, size = x.shape
    filled = F.pad(x, (0, 0, 0, 0, 0, -length % CHUNK))
    return filled.view(batch, -1, CHUNK, heads, size).transpose(2, 3)
