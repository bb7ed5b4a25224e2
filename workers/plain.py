"""The layers of RWKV-7 in plain torch, for any device: what the fused ones are tested against, and their fallback."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from workers.batch import Batch
from workers.checkpoint import HEAD_SIZE
from workers.recurrence import chunked, step
from workers.slots import Slots
from workers.stopwatch import Stopwatch

Block = dict[str, Tensor]
Recurrence = Callable[[Tensor, "Fed", list[Tensor]], Tensor]
"""What `in_torch` does."""

_GROUP_NORM_EPS = 64e-5
_DECAY_SCALE = -0.606531  # -exp(-0.5)


class Layers:
    """All layers of a model, and the states that they read and leave behind."""

    def __init__(self, blocks: Iterable[Block], slots: Slots, watch: Stopwatch, recurrence: Recurrence) -> None:
        """`recurrence` is `in_torch`, or another that does the same."""
        self._blocks = list(blocks)
        self._slots = slots
        self._watch = watch
        self._recurrence = recurrence

    def forward(self, x: Tensor, batch: Batch) -> Tensor:
        """What the layers make of x (N, C), of the wanted tokens; the segments' slots move on."""
        first_value = None
        fed = Fed(batch, x.device)
        for layer, block in enumerate(self._blocks):
            shifts, wkv = self._slots.shift[layer], self._slots.wkv[layer]

            def recur(*parts: Tensor, wkv: Tensor = wkv) -> Tensor:
                self._watch.lap("linear")
                y = self._recurrence(wkv, fed, [part.float() for part in parts])
                self._watch.lap("wkv")
                return y

            mixed, first_value = _time_mix(block, _norm(block, "ln1", x), shifts[0], first_value, fed, recur)
            x = x + mixed
            x = x + _channel_mix(block, _norm(block, "ln2", x), shifts[1], fed)
        return x[fed.wanted]


class Fed:
    """A batch as indices on the device."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        starts = batch.starts
        self.starts = torch.tensor(starts, device=device)
        self.first = torch.tensor(starts[:-1], device=device)
        self.last = torch.tensor(batch.last, device=device)
        self.slots = torch.tensor(batch.slots, device=device)
        self.wanted = torch.tensor(batch.wanted, dtype=torch.long, device=device)
        self.several = [
            (segment.slot, slice(start, start + len(segment.tokens)))
            for segment, start in zip(batch.segments, starts, strict=False)
            if len(segment.tokens) > 1
        ]
        alone = [i for i, segment in enumerate(batch.segments) if len(segment.tokens) == 1]
        self.alone = torch.tensor([starts[i] for i in alone], dtype=torch.long, device=device)
        self.alone_slots = torch.tensor([batch.segments[i].slot for i in alone], dtype=torch.long, device=device)

    def shifted(self, x: Tensor, shift: Tensor) -> Tensor:
        """What the token before has over each (N, C); `shift` (S, C) takes the segments' last, in place."""
        before = torch.cat((x[:1], x[:-1]))
        before[self.first] = shift[self.slots]
        shift[self.slots] = x[self.last]
        return before - x


def _norm(block: Block, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, (x.shape[-1],), block[f"{name}.weight"], block[f"{name}.bias"])


def _time_mix(
    p: Block, x: Tensor, shift: Tensor, first_value: Tensor | None, fed: Fed, recur: Callable[..., Tensor]
) -> tuple[Tensor, Tensor]:
    """One layer's time mix of x (N, C); updates `shift` (S, C) in place, and by `recur` the states."""
    length, width = x.shape
    heads = (length, width // HEAD_SIZE, HEAD_SIZE)
    xx = fed.shifted(x, shift)
    xr, xw, xk, xv, xa, xg = (x + xx * p[f"att.x_{name}"] for name in "rwkvag")

    r = F.linear(xr, p["att.receptance.weight"])
    k = F.linear(xk, p["att.key.weight"])
    v = F.linear(xv, p["att.value.weight"])
    w = torch.tanh(xw @ p["att.w1"]) @ p["att.w2"]
    a = torch.sigmoid(p["att.a0"] + (xa @ p["att.a1"]) @ p["att.a2"])
    g = torch.sigmoid(xg @ p["att.g1"]) @ p["att.g2"]

    kk = F.normalize((k * p["att.k_k"]).view(heads), dim=-1)
    k = k * (1 + (a - 1) * p["att.k_a"])
    if first_value is None:
        first_value = v
    else:
        v = v + (first_value - v) * torch.sigmoid(p["att.v0"] + (xv @ p["att.v1"]) @ p["att.v2"])
    decay = torch.exp(_DECAY_SCALE * torch.sigmoid((p["att.w0"] + w).float()))

    y = recur(r.view(heads), decay.view(heads), k.view(heads), v.view(heads), -kk, kk * a.view(heads))
    y = y.to(x.dtype).reshape(length, width)
    y = F.group_norm(y, heads[1], p["att.ln_x.weight"], p["att.ln_x.bias"], eps=_GROUP_NORM_EPS)
    bonus = (r.view(heads) * k.view(heads) * p["att.r_k"]).sum(-1, keepdim=True) * v.view(heads)
    return F.linear((y + bonus.view(length, width)) * g, p["att.output.weight"]), first_value


def in_torch(states: Tensor, fed: Fed, parts: list[Tensor]) -> Tensor:
    """y (N, H, 64) of r, w, k, v, a, b, which are fp32 and as large; `states` (S, H, 64, 64) of `Slots` in place."""
    y, wkv = torch.empty_like(parts[0]), states.mT
    if len(fed.alone):
        r, w, k, v, a, b = (part[fed.alone] for part in parts)
        y[fed.alone], wkv[fed.alone_slots] = step(r, w, k, v, a, b, wkv[fed.alone_slots])
    for slot, tokens in fed.several:
        r, w, k, v, a, b = (part[None, tokens] for part in parts)
        said, state = chunked(r, w, k, v, a, b, wkv[slot][None])
        y[tokens], wkv[slot] = said[0], state[0]
    return y


def _channel_mix(p: Block, x: Tensor, shift: Tensor, fed: Fed) -> Tensor:
    """One layer's channel mix of x (N, C); updates `shift` (S, C) in place."""
    k = x + fed.shifted(x, shift) * p["ffn.x_k"]
    return F.linear(torch.relu(F.linear(k, p["ffn.key.weight"])) ** 2, p["ffn.value.weight"])
