"""Choosing the next tokens from the logits: one row after the other, in plain torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.penalties import Seen
from workers.sequence import Sampling

_GREEDY_BELOW = 1e-5
"""Temperatures below are greedy in all but name, and soon overflow."""

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Row:
    """How a row's token is chosen; `key` is 64 random bits, of which a draw takes what it needs."""

    sampling: Sampling
    key: int = 0
    seen: Seen | None = None

    @property
    def is_greedy(self) -> bool:
        s = self.sampling
        return s.temperature < _GREEDY_BELOW or s.top_k == 1 or s.top_p == 0


@dataclass(frozen=True, slots=True)
class Choice:
    """A token and its log-probability by the model; None where the logits are no distribution (NaN, infinity)."""

    token: int | None
    logprob: float


class Sampler:
    """Chooses tokens for one vocabulary; `banned` ids are never chosen.

    Presence and frequency penalties are subtracted from the logits of tokens seen, as the `rwkv` package does; then
    come temperature, top-k, and top-p of what is left, in the order of vLLM. Tokens as probable as the last one in
    count as in, too.
    """

    def __init__(self, banned: Sequence[int]) -> None:
        self._banned = torch.tensor(banned, dtype=torch.long)

    @torch.inference_mode()
    def choose(self, logits: Tensor, rows: Sequence[Row]) -> list[Choice]:
        """A choice for every row of logits (R, V)."""
        return [self._choose(of_row.float(), row) for of_row, row in zip(logits, rows, strict=True)]

    def _choose(self, logits: Tensor, row: Row) -> Choice:
        if not bool(logits.isfinite().all()):
            return Choice(None, math.nan)
        logits = logits.index_fill(0, self._banned.to(logits.device), -math.inf)
        logprobs = logits.log_softmax(0)
        if row.seen is not None:
            ids, penalties = (torch.from_numpy(part).to(logits.device) for part in row.seen.penalties())
            logits = logits.index_add(0, ids, -penalties)
        token = int(logits.argmax()) if row.is_greedy else _drawn(logits, row)
        return Choice(token, float(logprobs[token]))


def _drawn(logits: Tensor, row: Row) -> int:
    sampling = row.sampling
    p = ((logits - logits.max()) / sampling.temperature).exp().double()
    if 0 < sampling.top_k < len(p):
        p = p.where(p >= p.topk(sampling.top_k).values[-1], 0)
    allowed = sampling.top_p * p.sum()
    pivot, number = 0.0, 0
    while True:
        cumulative = p.where(p > pivot, 0).cumsum(0)
        token = int(torch.searchsorted(cumulative, uniform(row.key, number) * cumulative[-1], right=True))
        token = min(token, int(p.where(p > pivot, 0).nonzero()[-1]))
        if p[token] >= 1 or p.where(p > p[token], 0).sum() < allowed:
            return token
        pivot, number = float(p[token]), number + 1


def uniform(key: int, number: int) -> float:
    """The `number`-th of a key's numbers in [0, 1): splitmix64."""
    z = (key + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return float((z ^ (z >> 31)) >> 11) * 2.0**-53
