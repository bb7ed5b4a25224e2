"""A model that notes when each of its steps began, and how many sequences were in it."""

from __future__ import annotations

import time
from itertools import pairwise

from torch import Tensor

from workers.batch import Batch
from workers.rwkv7 import RWKV7


class Clocked:
    """To an engine, the model itself."""

    def __init__(self, model: RWKV7) -> None:
        self.shape, self.slots, self.max_tokens = model.shape, model.slots, model.max_tokens
        self.sampler, self.watch = model.sampler, model.watch
        self.threads, self.run_on = model.threads, model.run_on
        self._model = model
        self._begun: list[tuple[int, float]] = []

    def forward(self, batch: Batch) -> Tensor:
        """The model's, with a note."""
        self._begun.append((len(batch.segments), time.perf_counter()))
        return self._model.forward(batch)

    def forget(self) -> None:
        """Begin anew."""
        self._begun = []

    def steps_s(self, sequences: int) -> list[float]:
        """From the beginning of each step with so many sequences to that of the next one."""
        return [after - begun for (count, begun), (_, after) in pairwise(self._begun) if count == sequences]
