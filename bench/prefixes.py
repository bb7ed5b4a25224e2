"""`python -m bench prefixes`: how much of a real trace's shared beginnings need not be read again, by room and policy.

The trace's prompts, shortened, go one by one through a real engine with a tiny model, in which a state is kept at
every stride as in the farm; strides are shorter by the same factor.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import torch

from bench import mooncake, untrained
from bench.machine import described
from bench.mooncake import Prompt
from cache.memory import MemoryTier
from cache.policies import PolicyName
from cache.tiered import TieredCache
from workers import checkpoint
from workers.engine import Engine
from workers.marks import MOST_STRIDES, STRIDE_TOKENS, Beginning, Mark
from workers.prefixes import Prefixes
from workers.rwkv7 import RWKV7
from workers.sequence import GenerationRequest, Sampling
from workers.states import StateFormat
from workers.tokenizer import Tokenizer

OURS: PolicyName = "ranked"
_UNBOUNDED = 1 << 40
_BYTES = Tokenizer({byte + 1: bytes([byte]) for byte in range(256)})
"""A token a byte."""


class Unranked(Prefixes):
    """Every state is worth as much as any other: what a plain policy has to choose from."""

    def worth_keeping(self, beginnings: Sequence[Beginning], *, found: int, marked: int | None) -> list[Mark]:
        kept = super().worth_keeping(beginnings, found=found, marked=marked)
        return [replace(mark, name=mark.key) for mark in kept]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of the trace with one policy in one room."""

    policy: PolicyName
    room: str
    room_bytes: int
    reused_ratio: float
    states: int
    held_bytes: int
    evictions: int
    seconds: float


class Replay:
    """The trace, and a model to read it with."""

    def __init__(self, prompts: Sequence[Prompt], factor: int) -> None:
        self._prompts = prompts
        self._reusable = mooncake.reusable(prompts)
        self._stride = STRIDE_TOKENS // factor
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tiny.pth"
            torch.save(untrained.weights(layers=1, width=64, vocabulary=320), path)
            self._model = RWKV7(checkpoint.load(path), torch.float32, slots=1, max_tokens=256)

    def run(self, policy: PolicyName, room: str, room_bytes: int) -> Replayed:
        """Read every prompt after the one before it, and count what was known of it."""
        memory = MemoryTier(room_bytes, policy)
        states = StateFormat("tiny", self._model.shape, self._model.dtype, "fp32")
        kind = Prefixes if policy == OURS else Unranked
        prefixes = kind(TieredCache(memory), states, ttl_s=1e6, stride_tokens=self._stride)
        engine = Engine(self._model, _BYTES, max_prompt_tokens=1 << 20, prefixes=prefixes)
        prefixes.start()
        engine.start()
        started, reused = time.monotonic(), 0
        for prompt in self._prompts:
            request = GenerationRequest(prompt.text, Sampling(temperature=0, max_tokens=1))
            reused += engine.submit(request).result().cached_tokens
            prefixes.settle()
        engine.stop()
        prefixes.stop()
        took = time.monotonic() - started
        held = memory.size()
        ratio = reused / self._reusable
        return Replayed(policy, room, room_bytes, ratio, held.entries, held.bytes, held.evictions, took)


def main(arguments: Sequence[str]) -> None:
    """Replay, and print the table."""
    options = _options(arguments)
    if not options.trace.exists():
        print(f"skipped: the trace {options.trace} is not here; --trace names another place")
        return
    prompts = mooncake.prompts(options.trace, options.factor, options.prompts)
    replay = Replay(prompts, options.factor)
    tokens = sum(len(prompt.text) for prompt in prompts)
    print(
        f"{len(prompts)} prompts of {options.trace.name}, tokens divided by {options.factor}: {tokens}, of which "
        f"{mooncake.reusable(prompts)} are reusable; strides of {STRIDE_TOKENS // options.factor}, at most "
        f"{MOST_STRIDES} a prompt; {described()}"
    )
    print(f"{'room':>12} {'MB':>7} {'policy':>9} {'reused':>7} {'states':>7} {'MB held':>8} {'dropped':>8} {'s':>5}")
    everything = replay.run(OURS, "all", _UNBOUNDED)
    rows = [_printed(everything)]
    for share in options.shares:
        room_bytes = everything.held_bytes // share
        rows += [_printed(replay.run(policy, f"1/{share} of all", room_bytes)) for policy in options.policies]
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def _printed(row: Replayed) -> Replayed:
    megabytes = f"{row.room_bytes / 1e6:7.1f}" if row.room_bytes < _UNBOUNDED else f"{'':7}"
    print(
        f"{row.room:>12} {megabytes} {row.policy:>9} {row.reused_ratio:7.1%} {row.states:7} "
        f"{row.held_bytes / 1e6:8.1f} {row.evictions:8} {row.seconds:5.0f}",
        flush=True,
    )
    return row


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench prefixes", description=__doc__)
    parser.add_argument("--trace", type=Path, default=mooncake.TRACE)
    parser.add_argument("--factor", type=int, default=32, help="what tokens are divided by")
    parser.add_argument("--prompts", type=int, help="only so many of the trace")
    parser.add_argument("--shares", type=int, nargs="+", default=[4, 64], help="what the room is divided by")
    parser.add_argument("--policies", nargs="+", choices=get_args(PolicyName), default=[OURS, "lru"])
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args(arguments)
