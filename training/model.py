"""RWKV-7 (x070) for training: whole rows at once, official parameter names, so that its state dict is a checkpoint."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.wkv import HEAD_SIZE, wkv

_DECAY_SCALE = -math.exp(-0.5)
_SHIFTS = {"r": 0.2, "w": 0.9, "k": 0.7, "v": 0.7, "a": 0.9, "g": 0.2}
"""How fast each projection's token shift falls off over the channels, at first."""


@dataclass(frozen=True, slots=True)
class Size:
    """The dimensions of a model; `low_rank` is the inner size of its decay, gate and mixing projections."""

    layers: int
    width: int
    vocabulary: int
    low_rank: int = 32

    @property
    def heads(self) -> int:
        return self.width // HEAD_SIZE


class RWKV7(nn.Module):
    """Logits for every position of rows that hold several documents each."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.emb = nn.Embedding(size.vocabulary, size.width)
        self.blocks = nn.ModuleList(Block(size, layer) for layer in range(size.layers))
        self.ln_out = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.vocabulary, bias=False)
        nn.init.uniform_(self.emb.weight, -1e-4, 1e-4)
        nn.init.orthogonal_(self.head.weight, 0.5 * max(1.0, math.sqrt(size.vocabulary / size.width)))

    def forward(self, tokens: Tensor, fresh: Tensor) -> Tensor:
        """Logits (B, T, V) of tokens (B, T); `fresh` (B, T) is true where a document begins."""
        continues = (~fresh).unsqueeze(-1).float()  # (B, T, 1): 0 cuts what came before
        x, first_value = self.emb(tokens), None
        for block in self.blocks:
            x, first_value = block(x, continues, first_value)
        return self.head(self.ln_out(x))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer: time mix, then channel mix; the first one norms the embedding too."""

    def __init__(self, size: Size, layer: int) -> None:
        super().__init__()
        if layer == 0:
            self.ln0 = nn.LayerNorm(size.width)
        self.ln1 = nn.LayerNorm(size.width)
        self.ln2 = nn.LayerNorm(size.width)
        self.att = TimeMix(size, layer)
        self.ffn = ChannelMix(size, layer)
        self._is_first = layer == 0

    def forward(self, x: Tensor, continues: Tensor, first_value: Tensor | None) -> tuple[Tensor, Tensor]:
        if self._is_first:
            x = self.ln0(x)
        mixed, first_value = self.att(self.ln1(x), continues, first_value)
        x = x + mixed
        return x + self.ffn(self.ln2(x), continues), first_value


class TimeMix(nn.Module):
    """The layer's memory: what it takes in, lets decay, removes and reads."""

    w1: nn.Parameter
    w2: nn.Parameter
    a1: nn.Parameter
    a2: nn.Parameter
    g1: nn.Parameter
    g2: nn.Parameter
    v1: nn.Parameter
    v2: nn.Parameter

    def __init__(self, size: Size, layer: int) -> None:
        super().__init__()
        width, rank = size.width, size.low_rank
        depth, rest = layer / max(1, size.layers - 1), 1 - layer / size.layers
        channel = torch.arange(width) / (width - 1)
        in_head = (torch.arange(width) % HEAD_SIZE - (HEAD_SIZE - 1) / 2) / ((HEAD_SIZE - 1) / 2)
        zigzag = in_head * in_head.abs()
        for name, power in _SHIFTS.items():
            setattr(self, f"x_{name}", _vector(1 - (torch.arange(width) / width) ** (power * rest)))
        self.w0 = _vector(-5.5 + 6 * channel ** (1 + depth**0.3) + 2.5 * zigzag)
        self.a0 = _vector(-0.19 + 0.3 * zigzag + 0.4 * (channel - 0.5))
        self.k_k = _vector(0.71 - 0.1 * (channel - 0.5))
        self.k_a = _vector(torch.full((width,), 1.02))
        self.r_k = nn.Parameter(torch.full((size.heads, HEAD_SIZE), -0.04))
        for name in "wag" if layer == 0 else "wagv":
            setattr(self, f"{name}1", nn.Parameter(torch.zeros(width, rank)))
            setattr(self, f"{name}2", nn.Parameter(nn.init.orthogonal_(torch.empty(rank, width), 0.1)))
        if layer > 0:
            self.v0 = _vector(0.73 - 0.4 * (channel - 0.5))
        self.receptance = _linear(width, width, 0.5)
        self.key = _linear(width, width, 0.05)
        self.value = _linear(width, width, 0.5)
        self.output = _linear(width, width, 0)
        self.ln_x = nn.GroupNorm(size.heads, width, eps=64e-5)
        self._heads = size.heads

    def forward(self, x: Tensor, continues: Tensor, first_value: Tensor | None) -> tuple[Tensor, Tensor]:
        """The mix (B, T, C), and the first layer's values, which later layers' are drawn towards."""
        batch, length, width = x.shape
        heads = (batch, length, self._heads, HEAD_SIZE)
        xx = _before(x, continues) - x
        xr, xw, xk, xv, xa, xg = (x + xx * getattr(self, f"x_{name}") for name in "rwkvag")
        r, k, v = self.receptance(xr), self.key(xk), self.value(xv)
        w = torch.tanh(xw @ self.w1) @ self.w2
        a = torch.sigmoid(self.a0 + (xa @ self.a1) @ self.a2)
        g = torch.sigmoid(xg @ self.g1) @ self.g2
        kk = F.normalize((k * self.k_k).view(heads), dim=-1)
        k = k * (1 + (a - 1) * self.k_a)
        if first_value is None:
            first_value = v
        else:
            v = v + (first_value - v) * torch.sigmoid(self.v0 + (xv @ self.v1) @ self.v2)
        decay = torch.exp(_DECAY_SCALE * torch.sigmoid((self.w0 + w).float())) * continues
        r, k, v, a = (x.view(heads).float() for x in (r, k, v, a))
        removed = -kk.float() * continues.unsqueeze(-1)
        y = wkv(r, decay.view(heads), k, v, removed, kk.float() * a)
        y = self.ln_x(y.view(batch * length, width)).view(batch, length, width)
        bonus = ((r * k * self.r_k).sum(-1, keepdim=True) * v).view(batch, length, width)
        return self.output((y + bonus) * g), first_value


class ChannelMix(nn.Module):
    """The layer's lookup: a squared ReLU between two matrices."""

    def __init__(self, size: Size, layer: int) -> None:
        super().__init__()
        width = size.width
        self.x_k = _vector(1 - (torch.arange(width) / width) ** ((1 - layer / size.layers) ** 4))
        self.key = _linear(width, 4 * width, 0.5)
        self.value = _linear(4 * width, width, 0)

    def forward(self, x: Tensor, continues: Tensor) -> Tensor:
        k = x + (_before(x, continues) - x) * self.x_k
        return self.value(torch.relu(self.key(k)) ** 2)  # type: ignore[no-any-return]


def _before(x: Tensor, continues: Tensor) -> Tensor:
    """The token before each, 0 before a document's first."""
    return F.pad(x, (0, 0, 1, -1)) * continues.to(x.dtype)


def _vector(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.float().view(1, 1, -1))


def _linear(inputs: int, outputs: int, spread: float) -> nn.Linear:
    linear = nn.Linear(inputs, outputs, bias=False)
    bound = spread / math.sqrt(inputs)
    nn.init.uniform_(linear.weight, -bound, bound)
    return linear
