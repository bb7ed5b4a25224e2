"""The `rwkv` package, called as its README shows."""

from __future__ import annotations

import importlib
import os
import time

from bench.contenders import Load

_PROMPT_TOKENS = 16


class Package:
    """One sequence at a time is all that it can."""

    def __init__(self, load: Load) -> None:
        os.environ["RWKV_V7_ON"] = "1"
        os.environ.setdefault("RWKV_JIT_ON", "1")
        self._model = importlib.import_module("rwkv.model").RWKV(
            str(load.checkpoint.with_suffix("")), f"cpu {load.dtype}"
        )

    def decode(self, rows: int, tokens: int) -> float:
        """Greedy, `rows` times one after the other."""
        seconds = 0.0
        for _ in range(rows):
            logits, state = self._model.forward([*range(100, 100 + _PROMPT_TOKENS)], None)
            started = time.perf_counter()
            for _ in range(tokens):
                logits, state = self._model.forward(int(logits.argmax()), state)
            seconds += time.perf_counter() - started
        return rows * tokens / seconds

    def prefill(self, tokens: int) -> float:
        """In one call."""
        started = time.perf_counter()
        self._model.forward([*range(100, 100 + tokens)], None)
        return tokens / (time.perf_counter() - started)
