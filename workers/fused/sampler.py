"""Choosing the next tokens of a whole batch on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from workers.fused import sampling
from workers.fused.native import Kernel, compiled
from workers.sampler import Choice, Row


class Sampler:
    """What `workers.sampler.Sampler` is, for logits of one number format and up to `max_rows` rows."""

    def __init__(self, banned: Sequence[int], vocabulary: int, dtype: torch.dtype, max_rows: int) -> None:
        threads = torch.get_num_threads()
        self._vocabulary = vocabulary
        room = vocabulary + -(-vocabulary // sampling.BLOCK)
        self._banned = np.array(banned or [0], dtype=np.int64)
        self._own = torch.empty(threads, room)
        self._keys = np.zeros(max_rows, dtype=np.uint64)
        self._top_ks, self._tokens = (np.zeros(max_rows, dtype=np.int64) for _ in range(2))
        self._temperatures, self._top_ps, self._logprobs = (np.zeros(max_rows, dtype=np.float32) for _ in range(3))
        self._ends = np.zeros(max_rows + 1, dtype=np.int64)
        self._choose = Kernel(compiled(sampling.choose, dtype), [0] * 15, threads)
        self._addresses = [
            (array.data_ptr() if isinstance(array, Tensor) else array.ctypes.data)
            for array in (self._banned, self._keys, self._top_ks, self._temperatures, self._top_ps, self._ends)
        ]
        self._results = [self._tokens.ctypes.data, self._logprobs.ctypes.data, self._own.data_ptr(), room]
        self._banned_count = len(banned)

    def choose(self, logits: Tensor, rows: Sequence[Row]) -> list[Choice]:
        """A choice for every row of logits (R, V)."""
        logits, count = logits.contiguous(), len(rows)
        for index, row in enumerate(rows):
            self._keys[index] = row.key
            self._temperatures[index] = 0 if row.is_greedy else row.sampling.temperature
            self._top_ps[index] = row.sampling.top_p
            self._top_ks[index] = row.sampling.top_k if row.sampling.top_k < self._vocabulary else 0
        ids, penalties = self._penalties(rows)
        self._choose(
            count, self._vocabulary, self._banned_count, logits.data_ptr(), *self._addresses,
            ids.ctypes.data, penalties.ctypes.data, *self._results,
        )  # fmt: skip
        chosen = zip(self._tokens[:count].tolist(), self._logprobs[:count].tolist(), strict=True)
        return [Choice(None if token == sampling.NOT_FINITE else token, logprob) for token, logprob in chosen]

    def _penalties(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """The penalised ids of all rows, one row's after the other's, and what each loses."""
        parts = [row.seen.penalties() if row.seen is not None else _NONE for row in rows]
        self._ends[1 : len(rows) + 1] = [*accumulate(len(ids) for ids, _ in parts)]
        ids, penalties = zip(*parts, strict=True)
        return np.concatenate(ids), np.concatenate(penalties)


_NONE = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
