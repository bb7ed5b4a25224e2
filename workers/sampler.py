"""Choosing the next tokens from the logits of a batch, in plain torch, on any device."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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

    def __init__(self, banned: Sequence[int], device: str | torch.device = "cpu") -> None:
        self._banned = torch.tensor(banned, dtype=torch.long, device=device)

    @torch.inference_mode()
    def choose(self, logits: Tensor, rows: Sequence[Row]) -> list[Choice]:
        """A choice for every row of logits (R, V)."""
        logits = logits.float()
        is_finite = logits.isfinite().all(1)
        logits = logits.index_fill(1, self._banned, -math.inf)
        logprobs = logits.log_softmax(1)
        logits = _penalised(logits, rows)
        tokens = logits.argmax(1)
        drawing = [index for index, row in enumerate(rows) if not row.is_greedy]
        if drawing:
            where = torch.tensor(drawing, device=logits.device)
            tokens[where] = _drawn(logits[where].nan_to_num(0), [rows[index] for index in drawing])
        chosen = logprobs.gather(1, tokens[:, None])[:, 0]
        choices = zip(tokens.tolist(), chosen.tolist(), is_finite.tolist(), strict=True)
        return [Choice(token, logprob) if finite else Choice(None, math.nan) for token, logprob, finite in choices]


def _penalised(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """Without what the tokens seen lose; may be done in place."""
    for index, row in enumerate(rows):
        if row.seen is not None:
            ids, penalties = (torch.from_numpy(part).to(logits.device) for part in row.seen.penalties())
            logits[index].index_add_(0, ids, -penalties)
    return logits


def _drawn(logits: Tensor, rows: Sequence[Row]) -> Tensor:
    """A token for every row (R,), all of them drawn until each lies in its nucleus."""

    def column(numbers: Iterable[float]) -> Tensor:
        return torch.tensor([*numbers], dtype=torch.float64, device=logits.device)[:, None]

    scaled = (logits - logits.max(1, keepdim=True).values).double() / column(row.sampling.temperature for row in rows)
    p = _of_top_k(scaled.exp(), [row.sampling.top_k for row in rows])
    allowed = column(row.sampling.top_p for row in rows) * p.sum(1, keepdim=True)
    tokens = torch.zeros(len(rows), 1, dtype=torch.long, device=logits.device)
    pivot, number = torch.zeros_like(allowed), 0
    is_open = torch.ones_like(tokens, dtype=torch.bool)
    while bool(is_open.any()):
        left = p.where(p > pivot, 0)
        cumulative = left.cumsum(1)
        mark = column(uniform(row.key, number) for row in rows) * cumulative[:, -1:]
        last = left.shape[1] - 1 - (left > 0).flip(1).int().argmax(1, keepdim=True)
        drawn = torch.searchsorted(cumulative, mark, right=True).minimum(last)
        tokens = drawn.where(is_open, tokens)
        pivot, number = p.gather(1, tokens), number + 1
        is_open = is_open & (pivot < 1) & (p.where(p > pivot, 0).sum(1, keepdim=True) >= allowed)
    return tokens[:, 0]


def _of_top_k(p: Tensor, top_ks: Sequence[int]) -> Tensor:
    """Nothing but each row's k most probable, and their equals; a `k` of 0, or of all, changes nothing."""
    size = p.shape[1]
    limits = [k if 0 < k < size else 0 for k in top_ks]
    if not any(limits):
        return p
    columns = torch.tensor([max(0, k - 1) for k in limits], device=p.device)[:, None]
    least = p.topk(max(limits), dim=1).values.gather(1, columns)
    limited = torch.tensor([k > 0 for k in limits], device=p.device)[:, None]
    return p.where(~limited | (p >= least), 0)


def uniform(key: int, number: int) -> float:
    """The `number`-th of a key's numbers in [0, 1): splitmix64."""
    z = (key + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return float((z ^ (z >> 31)) >> 11) * 2.0**-53
