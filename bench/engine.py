"""`python -m bench engine`: how fast the engine decodes and prefills, beside its peers, in one run and by turns."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench import ceilings, untrained
from bench.machine import described
from workers import checkpoint, tokenizer
from workers.engine import Engine
from workers.rwkv7 import RWKV7
from workers.sequence import Generation, GenerationRequest, Sampling

SHAPES = {"0.1B": (12, 768), "0.4B": (24, 1024), "1.5B": (24, 2048)}
"""Layers and width of the official models."""

_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
_VOCABULARY = 65536
_PROMPT_TOKENS = 16


@dataclass(slots=True)
class Row:
    """One load on one engine, measured several times."""

    name: str
    load: str
    measure: Callable[[], float]
    ceiling: float | None = None
    tokens_per_s: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.tokens_per_s)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the table."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"rwkv7-{options.shape}.pth"
        layers, width = SHAPES[options.shape]
        torch.save(untrained.weights(layers=layers, width=width, vocabulary=_VOCABULARY), path)
        rows = _rows(path, options)
        for _ in range(options.repeats):
            for row in rows:
                row.tokens_per_s.append(row.measure())
    _print(rows, options)


def _rows(path: Path, options: argparse.Namespace) -> list[Row]:
    dtype, loaded = _DTYPES[options.dtype], checkpoint.load(path)
    words = tokenizer.load(None)
    model = RWKV7(loaded, dtype, slots=max(options.rows), max_tokens=max(options.rows) + 512)
    engine = Engine(model, words, max_prompt_tokens=4096)
    engine.start()
    read, flops = ceilings.read_bytes_per_s(), ceilings.flops_per_s(dtype)
    print(f"reads {read / 1e9:.0f} GB/s, multiplies {flops / 1e9:.0f} GFLOP/s ({options.dtype})")
    state_bytes = model.slots.bytes // model.slots.count

    def decode(count: int) -> Row:
        least_s = ceilings.decode_s(loaded.tensors, count, state_bytes, dtype, read, flops)
        load = f"decode, {count} row{'s' if count > 1 else ''}"
        return Row("echo", load, lambda: _decoded(engine, count, options.tokens), count / least_s)

    rows = [decode(count) for count in options.rows]
    rows += [Row("echo", f"prefill, {n} tokens", lambda n=n: _prefilled(engine, n)) for n in options.prompts]  # type: ignore[misc]
    package = _package(path, options.dtype)
    rows.append(Row("rwkv package", "decode, 1 row", lambda: _decoded_by(package, options.tokens)))
    rows += [
        Row("rwkv package", f"prefill, {n} tokens", lambda n=n: _prefilled_by(package, n))  # type: ignore[misc]
        for n in options.prompts
    ]
    gc.collect()
    return rows


def _asked(engine: Engine, count: int, prompt_tokens: int, tokens: int) -> list[tuple[float, Generation]]:
    """The answers to as many prompts at once, each with the moment of its start."""
    sampling = Sampling(temperature=0, max_tokens=tokens)
    prompts = [("天地玄黃" * prompt_tokens)[n % 4 :][:prompt_tokens] for n in range(count)]
    futures = [(time.monotonic(), engine.submit(GenerationRequest(prompt, sampling))) for prompt in prompts]
    return [(started, future.result()) for started, future in futures]


def _decoded(engine: Engine, count: int, tokens: int) -> float:
    """Tokens a second from the moment when all rows have their first token to the end of the first that ends."""
    answers = _asked(engine, count, _PROMPT_TOKENS, tokens)
    begun = max(started + answer.ttft_s for started, answer in answers)
    ended = min(started + answer.total_s for started, answer in answers)
    shares = [
        (ended - begun) / ((answer.total_s - answer.ttft_s) / max(1, len(answer.tokens) - 1)) for _, answer in answers
    ]
    return sum(shares) / (ended - begun)


def _prefilled(engine: Engine, tokens: int) -> float:
    ((_, answer),) = _asked(engine, 1, tokens, 1)
    return tokens / (answer.ttft_s - answer.queue_s)


def _package(path: Path, dtype: str) -> Any:
    """The `rwkv` package's model, as its README loads one."""
    os.environ["RWKV_V7_ON"] = "1"
    return importlib.import_module("rwkv.model").RWKV(str(path.with_suffix("")), f"cpu {dtype}")


def _decoded_by(package: Any, tokens: int) -> float:
    logits, state = package.forward([*range(100, 100 + _PROMPT_TOKENS)], None)
    started = time.perf_counter()
    for _ in range(tokens):
        logits, state = package.forward(int(logits.argmax()), state)
    return tokens / (time.perf_counter() - started)


def _prefilled_by(package: Any, tokens: int) -> float:
    started = time.perf_counter()
    package.forward([*range(100, 100 + tokens)], None)
    return tokens / (time.perf_counter() - started)


def _print(rows: Sequence[Row], options: argparse.Namespace) -> None:
    package = {row.load: row.median for row in rows if row.name == "rwkv package"}
    title = f"{options.shape}, {options.dtype}, greedy, median of {options.repeats}; {described()}"
    print(title)
    print(f"{'':14} {'load':22} {'tokens/s':>9} {'least':>8} {'most':>8} {'of ceiling':>10} {'x package':>9}")
    for row in rows:
        share = f"{row.median / row.ceiling:10.0%}" if row.ceiling else f"{'':10}"
        same = package.get(row.load) or package["decode, 1 row"]
        low, high = min(row.tokens_per_s), max(row.tokens_per_s)
        print(f"{row.name:14} {row.load:22} {row.median:9.0f} {low:8.0f} {high:8.0f} {share} {row.median / same:9.1f}")
    if options.json:
        table = [{"engine": row.name, "load": row.load, "tokens_per_s": row.tokens_per_s} for row in rows]
        options.json.write_text(json.dumps({"title": title, "rows": table}, indent=1))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench engine", description=__doc__)
    parser.add_argument("--shape", choices=[*SHAPES], default="0.1B")
    parser.add_argument("--dtype", choices=[*_DTYPES], default="bf16")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8, 32, 64], help="sequences at a time")
    parser.add_argument("--prompts", type=int, nargs="+", default=[512], help="tokens of the prompts")
    parser.add_argument("--tokens", type=int, default=48, help="tokens to generate")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)
