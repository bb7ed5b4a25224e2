"""llama.cpp, through `llama-cpp-python`, with the same weights as a GGUF file (the extra `bench` installs both)."""

from __future__ import annotations

import importlib
import importlib.util
import time
from typing import Any

from bench.contenders import Load
from bench.gguf import write
from echo_tasks import machine

_PROMPT_TOKENS = 16


def is_installed() -> bool:
    """Whether llama.cpp can be asked."""
    return all(importlib.util.find_spec(name) is not None for name in ("llama_cpp", "gguf"))


class Llama:
    """As `llama-batched-bench` measures: any tokens are fed, nothing is sampled."""

    def __init__(self, load: Load) -> None:
        self._c: Any = importlib.import_module("llama_cpp")
        self._c.llama_backend_init()
        path = load.checkpoint.with_suffix(f".{load.dtype}.gguf")
        write(load.checkpoint, path, load.dtype)
        self._quiet = self._c.llama_log_callback(lambda level, text, data: None)
        self._c.llama_log_set(self._quiet, None)
        model = self._c.llama_model_load_from_file(str(path).encode(), self._c.llama_model_default_params())
        if not model:
            raise RuntimeError(f"{path}: llama.cpp does not load it")
        parameters = self._c.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = 4096
        parameters.n_ubatch = 512
        parameters.n_seq_max = load.rows
        parameters.n_threads = parameters.n_threads_batch = machine.cores()
        self._context = self._c.llama_init_from_model(model, parameters)
        if not self._context:
            raise RuntimeError("llama.cpp makes no context")

    def decode(self, rows: int, tokens: int) -> float:
        """All rows in one batch a token."""
        self._forget()
        for row in range(rows):
            self._feed([(100 + at, at, row) for at in range(_PROMPT_TOKENS)])
        started = time.perf_counter()
        for at in range(_PROMPT_TOKENS, _PROMPT_TOKENS + tokens):
            self._feed([(100 + at + row, at, row) for row in range(rows)])
        return rows * tokens / (time.perf_counter() - started)

    def prefill(self, tokens: int) -> float:
        """In one batch."""
        self._forget()
        started = time.perf_counter()
        self._feed([(100 + at, at, 0) for at in range(tokens)], last_only=True)
        return tokens / (time.perf_counter() - started)

    def _forget(self) -> None:
        self._c.llama_memory_clear(self._c.llama_get_memory(self._context), True)

    def _feed(self, tokens: list[tuple[int, int, int]], *, last_only: bool = False) -> None:
        """Feed (token, position, row) at once, for the logits after each or after the last."""
        batch = self._c.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, (token, position, row) in enumerate(tokens):
            batch.token[i], batch.pos[i] = token, position
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, row
            batch.logits[i] = not last_only or i == len(tokens) - 1
        failed = self._c.llama_decode(self._context, batch)
        self._c.llama_synchronize(self._context)
        self._c.llama_batch_free(batch)
        if failed:
            raise RuntimeError(f"llama_decode: {failed}")
