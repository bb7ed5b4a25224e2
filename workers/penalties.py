"""What a sequence has said so far, as presence and frequency penalties see it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Seen:
    """The tokens of an answer with their counts, which fade by `decay` a token, as in the `rwkv` package."""

    def __init__(self, *, presence: float, frequency: float, decay: float) -> None:
        self._presence, self._frequency, self._decay = presence, frequency, decay
        self._places: dict[int, int] = {}
        self._ids: NDArray[np.int64] = np.zeros(16, dtype=np.int64)
        self._counts: NDArray[np.float32] = np.zeros(16, dtype=np.float32)

    def add(self, token: int) -> None:
        """Take note of a token."""
        used = len(self._places)
        self._counts[:used] *= self._decay
        place = self._places.setdefault(token, used)
        if place == len(self._ids):
            self._ids, self._counts = np.resize(self._ids, 2 * place), np.resize(self._counts, 2 * place)
            self._counts[place:] = 0
        self._ids[place] = token
        self._counts[place] += 1

    def penalties(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The ids seen, and what is to be subtracted from their logits."""
        used = len(self._places)
        penalties = self._presence + self._counts[:used] * self._frequency
        return self._ids[:used], penalties.astype(np.float32)
