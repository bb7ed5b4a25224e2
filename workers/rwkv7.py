"""The RWKV-7 (x070) forward pass, after BlinkDL's reference; its WKV state is kept in fp32.

Source of the recurrence: RWKV-7 "Goose" (arXiv 2503.14456), and the `rwkv` package, which is our oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from workers.checkpoint import HEAD_SIZE, Checkpoint, Shape
from workers.recurrence import chunked

_GROUP_NORM_EPS = 64e-5
_DECAY_SCALE = -0.606531  # -exp(-0.5)


@dataclass(slots=True)
class State:
    """All that a sequence's past leaves behind, for B rows: the token shifts and the WKV matrices."""

    shift: Tensor  # (L, 2, B, C): the previous input of each layer's time mix and channel mix
    wkv: Tensor  # (L, B, H, 64, 64) fp32: rows are value indices, columns key indices

    @classmethod
    def zeros(cls, shape: Shape, dtype: torch.dtype, rows: int = 1) -> State:
        """The state before the first token."""
        return cls(
            torch.zeros(shape.layers, 2, rows, shape.width, dtype=dtype),
            torch.zeros(shape.layers, rows, shape.heads, HEAD_SIZE, HEAD_SIZE),
        )


class RWKV7:
    """A model ready to run on the CPU."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        self.shape = checkpoint.shape
        self.dtype = dtype
        weights = {name: tensor.squeeze().to(dtype) for name, tensor in checkpoint.tensors.items()}
        norm = weights["blocks.0.ln0.weight"], weights["blocks.0.ln0.bias"]
        self._embedding = F.layer_norm(weights["emb.weight"], (self.shape.width,), *norm)
        self._head = weights["head.weight"]
        self._norm_out = weights["ln_out.weight"], weights["ln_out.bias"]
        self._blocks = [_block(weights, layer, self.shape) for layer in range(self.shape.layers)]

    def zero_state(self) -> State:
        """A fresh state for one sequence."""
        return State.zeros(self.shape, self.dtype)

    @torch.inference_mode()
    def forward(self, tokens: Sequence[int], state: State) -> Tensor:
        """Feed `tokens` (at least one) to the sequence of `state`, in place; logits (V,) after the last."""
        x = self._embedding[torch.tensor(tokens)]  # (T, C)
        first_value = x
        for layer, block in enumerate(self._blocks):
            shift, wkv = state.shift[layer, :, 0], state.wkv[layer, 0]
            mixed, first_value = _time_mix(block, _norm(block, "ln1", x), shift[0], wkv, first_value, layer == 0)
            x = x + mixed
            x = x + _channel_mix(block, _norm(block, "ln2", x), shift[1])
        last = F.layer_norm(x[-1], (self.shape.width,), *self._norm_out)
        return F.linear(last, self._head)  # (V,)


Block = dict[str, Tensor]


def _block(weights: dict[str, Tensor], layer: int, shape: Shape) -> Block:
    prefix = f"blocks.{layer}."
    block = {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
    block["att.r_k"] = block["att.r_k"].reshape(shape.heads, HEAD_SIZE)
    return block


def _norm(block: Block, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), block[f"{name}.weight"], block[f"{name}.bias"])


def _shifted(x: Tensor, previous: Tensor) -> Tensor:
    """The difference to the token before, (T, C); `previous` becomes the last token, in place."""
    difference = torch.cat((previous[None], x[:-1])) - x
    previous.copy_(x[-1])
    return difference


def _time_mix(
    p: Block, x: Tensor, previous: Tensor, wkv: Tensor, first_value: Tensor, is_first: bool
) -> tuple[Tensor, Tensor]:
    """One layer's time mix of x (T, C); updates `previous` (C,) and `wkv` (H, 64, 64) in place."""
    length, width = x.shape
    heads = (length, width // HEAD_SIZE, HEAD_SIZE)
    xx = _shifted(x, previous)
    xr, xw, xk, xv, xa, xg = (x + xx * p[f"att.x_{name}"] for name in "rwkvag")

    r = F.linear(xr, p["att.receptance.weight"])
    k = F.linear(xk, p["att.key.weight"])
    v = F.linear(xv, p["att.value.weight"])
    w = torch.tanh(xw @ p["att.w1"]) @ p["att.w2"]
    a = torch.sigmoid(p["att.a0"] + (xa @ p["att.a1"]) @ p["att.a2"])
    g = torch.sigmoid(xg @ p["att.g1"]) @ p["att.g2"]

    kk = F.normalize((k * p["att.k_k"]).view(heads), dim=-1)
    k = k * (1 + (a - 1) * p["att.k_a"])
    if is_first:
        first_value = v
    else:
        v = v + (first_value - v) * torch.sigmoid(p["att.v0"] + (xv @ p["att.v1"]) @ p["att.v2"])
    decay = torch.exp(_DECAY_SCALE * torch.sigmoid((p["att.w0"] + w).float()))

    recurrence = _step if length == 1 else _sweep
    y = recurrence(wkv, *(part.view(heads).float() for part in (r, decay, k, v, -kk, kk * a.view(heads)))).to(x.dtype)
    y = F.group_norm(y.reshape(length, width), heads[1], p["att.ln_x.weight"], p["att.ln_x.bias"], eps=_GROUP_NORM_EPS)
    bonus = (r.view(heads) * k.view(heads) * p["att.r_k"]).sum(-1, keepdim=True) * v.view(heads)
    return F.linear((y + bonus.view(length, width)) * g, p["att.output.weight"]), first_value


def _step(wkv: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """One token's y (1, H, 64), of S <- S diag(w) + (S a) b^T + v k^T and y = S r; `wkv` (H, 64, 64) in place."""
    read = wkv @ a[0].unsqueeze(-1)
    wkv.mul_(w[0].unsqueeze(-2)).add_(read * b[0].unsqueeze(-2)).add_(v[0].unsqueeze(-1) * k[0].unsqueeze(-2))
    return (wkv @ r[0].unsqueeze(-1)).squeeze(-1)[None]


def _sweep(wkv: Tensor, r: Tensor, w: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The same for many tokens, (T, H, 64) each."""
    y, last = chunked(r[None], w[None], k[None], v[None], a[None], b[None], wkv[None])
    wkv.copy_(last[0])
    return y[0]


def _channel_mix(p: Block, x: Tensor, previous: Tensor) -> Tensor:
    """One layer's channel mix of x (T, C); updates `previous` (C,) in place."""
    k = x + _shifted(x, previous) * p["ffn.x_k"]
    return F.linear(torch.relu(F.linear(k, p["ffn.key.weight"])) ** 2, p["ffn.value.weight"])
