"""Choosing the next token from the logits."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from echo_tasks.errors import GenerationError
from workers.sequence import Sampling

_FIRST_NUCLEUS = 256
"""Candidates looked at first: a nucleus is rarely wider, and a full sort of the vocabulary costs ten times as much."""

_GREEDY_BELOW = 1e-5
"""Temperatures below are greedy in all but name, and soon overflow."""


class Sampler:
    """Chooses tokens for one vocabulary; `banned` ids are never chosen."""

    def __init__(self, banned: Sequence[int]) -> None:
        self._banned = torch.tensor(banned, dtype=torch.long)

    @torch.inference_mode()
    def choose(
        self, logits: Tensor, sampling: Sampling, counts: Mapping[int, float], rng: random.Random
    ) -> tuple[int, float]:
        """The next token and its log-probability by the model, from logits (V,); sampling uses one number of `rng`.

        Presence and frequency penalties are subtracted from the logits of tokens seen (`counts`, decayed by
        the caller), as the `rwkv` package does; then temperature, top-k, top-p, in the order of vLLM and
        OpenAI. Raises GenerationError for logits that make no distribution (NaN, infinity).
        """
        logits = logits.float().index_fill(0, self._banned, -math.inf)
        if not bool(torch.isfinite(logits.logsumexp(0))):
            raise GenerationError("the model's logits are not finite numbers")
        logprobs = logits - logits.logsumexp(0)
        token = self._draw(_penalised(logits, sampling, counts), sampling, rng)
        return token, float(logprobs[token])

    def _draw(self, logits: Tensor, sampling: Sampling, rng: random.Random) -> int:
        if sampling.temperature < _GREEDY_BELOW or sampling.top_k == 1 or sampling.top_p == 0:
            return int(logits.argmax())
        probabilities = (logits / sampling.temperature).softmax(0)
        chosen, candidates = _nucleus(probabilities, sampling.top_p, sampling.top_k)
        cumulative = chosen.double().cumsum(0)
        at = int(torch.searchsorted(cumulative, rng.random() * float(cumulative[-1]), right=True))
        at = min(at, len(cumulative) - 1)
        return at if candidates is None else int(candidates[at])


def _penalised(logits: Tensor, sampling: Sampling, counts: Mapping[int, float]) -> Tensor:
    if not counts or (sampling.presence_penalty == 0 and sampling.frequency_penalty == 0):
        return logits
    ids = torch.tensor(list(counts))
    seen = torch.tensor(list(counts.values()))
    return logits.index_add(0, ids, -(sampling.presence_penalty + seen * sampling.frequency_penalty))


def _nucleus(probabilities: Tensor, top_p: float, top_k: int) -> tuple[Tensor, Tensor | None]:
    """The candidates' probabilities and ids, most likely first; ids None stands for the whole vocabulary."""
    size = len(probabilities)
    if top_p >= 1 and not top_k:
        return probabilities, None
    width = min(top_k or _FIRST_NUCLEUS, size)
    while True:
        chosen, ids = probabilities.topk(width)
        cumulative = chosen.double().cumsum(0)
        target = top_p * float(cumulative[-1]) if top_k else top_p
        if top_k or width == size or float(cumulative[-1]) >= target:
            kept = min(int((cumulative < target).sum()) + 1, width)
            return chosen[:kept], ids[:kept]
        width = min(width * 8, size)
