"""A tiny random model with a small vocabulary, and engines over them that are stopped at the end."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache as remembered
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from feeding import MAX_TOKENS, assert_free
from oracle import Oracle, uneven

from cache.memory import MemoryTier
from cache.tiered import TieredCache
from workers import checkpoint
from workers import tokenizer as vocabulary
from workers.engine import Engine
from workers.prefixes import Prefixes
from workers.rwkv7 import RWKV7, Kernels
from workers.states import StateFormat, WkvFormat
from workers.tokenizer import Tokenizer

MAX_PROMPT_TOKENS = 1024


WORDS = (
    "User: What is a tree?\n\nAssistant: A plant.\n\nUser: And a forest?\n\nAssistant: Two. One. hello hi number Think"
    "System: Be brief.\n\nThe quick brown fox jumps over the lazy dog. word def return x f(x): two plus three"
)
CHARACTERS = "天地玄黃黄宇宙洪荒日月"
"""Words and characters of the tests' prompts that are a token each."""

UNDECODABLE = 6
"""Ids of the tiny model that stand for no bytes, as many as an official model has."""


def _vocabulary() -> str:
    """The World vocabulary's bytes, what the tests' prompts are made of, and every 24th of its other tokens.

    A step of the tiny model with all 65,536 tokens would spend nine tenths of its time on them.
    """
    lines = (files("rwkv") / vocabulary.WORLD).read_text(encoding="utf-8").splitlines()
    wanted = {repr(piece) for piece in [*re.findall(r" ?\w+|\n+|\W", WORDS), *CHARACTERS]}
    entries = [line.partition(" ")[2] for line in lines]
    chosen = entries[:256] + [
        entry for number, entry in enumerate(entries[256:]) if number % 24 == 0 or entry.rpartition(" ")[0] in wanted
    ]
    return "".join(f"{token_id} {entry}\n" for token_id, entry in enumerate(chosen, 1))


@pytest.fixture(scope="session")
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's file, with its vocabulary beside it."""
    path = tmp_path_factory.mktemp("models") / "tiny.pth"
    beside = path.with_suffix(".vocab.txt")
    beside.write_text(_vocabulary(), encoding="utf-8")
    size = vocabulary.load(beside).largest_id + 1 + UNDECODABLE
    torch.save(uneven(size), path)
    return path


@pytest.fixture(scope="session")
def tokenizer(checkpoint_path: Path) -> Tokenizer:
    """The tiny model's tokenizer."""
    return vocabulary.load(checkpoint_path.with_suffix(".vocab.txt"))


@pytest.fixture(scope="session")
def oracle(checkpoint_path: Path) -> Oracle:
    """The `rwkv` package with the tiny model."""
    return Oracle(checkpoint_path)


@dataclass(frozen=True)
class Backend:
    """An implementation of the layers and the sampler, and what it runs on."""

    kernels: Kernels
    device: str


_DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
_BACKENDS = [Backend(kernels, device) for device in _DEVICES for kernels in ("fused", "plain")]


@pytest.fixture(scope="session", params=_BACKENDS, ids=lambda one: f"{one.kernels}-{one.device}")
def backend(request: pytest.FixtureRequest) -> Backend:
    """Every implementation, on all that is at hand."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def shared_model(checkpoint_path: Path, backend: Backend) -> Callable[[int], RWKV7]:
    """The tiny model in fp32 with as many slots as asked for, one for all tests."""
    loaded = checkpoint.load(checkpoint_path)
    return remembered(
        lambda slots: RWKV7(
            loaded,
            torch.float32,
            slots=slots,
            max_tokens=MAX_TOKENS,
            kernels=backend.kernels,
            device=backend.device,
        )
    )


@pytest.fixture
def make_model(shared_model: Callable[[int], RWKV7]) -> Iterator[Callable[[int], RWKV7]]:
    """Lends the shared model; the test leaves all its slots free, for the next one."""
    lent: list[RWKV7] = []

    def lend(slots: int) -> RWKV7:
        lent.append(shared_model(slots))
        return lent[-1]

    yield lend
    try:
        for model in lent:
            assert_free(model.slots)
    except BaseException:
        shared_model.cache_clear()  # type: ignore[attr-defined]
        raise


@pytest.fixture
def model(make_model: Callable[[int], RWKV7]) -> RWKV7:
    """The tiny model with two slots."""
    return make_model(2)


@pytest.fixture
def start_engine(make_model: Callable[[int], RWKV7], tokenizer: Tokenizer) -> Iterator[Callable[..., Engine]]:
    """Starts an engine: `start_engine(another_model)` or `start_engine(slots=2)`. All are stopped at the end."""
    started: list[Engine] = []

    def start(another: Any = None, *, slots: int = 1, **options: Any) -> Engine:
        model = another or make_model(slots)
        engine = Engine(model, tokenizer, **{"max_prompt_tokens": MAX_PROMPT_TOKENS} | options)
        engine.start()
        started.append(engine)
        return engine

    yield start
    for engine in started:
        engine.stop()


@pytest.fixture
def engine(start_engine: Callable[..., Engine]) -> Engine:
    """An engine with one slot over the tiny model."""
    return start_engine()


@pytest.fixture
def cache() -> TieredCache:
    """Where states are kept; several engines may share it, as workers share their store."""
    return TieredCache(MemoryTier(64 << 20))


@pytest.fixture
def make_prefixes(model: RWKV7, cache: TieredCache) -> Iterator[Callable[..., Prefixes]]:
    """Makes what a worker finds and keeps states with; all are stopped at the end."""
    made: list[Prefixes] = []

    def make(model_id: str = "0123456789abcdef", wkv: WkvFormat = "fp32", **options: Any) -> Prefixes:
        prefixes = Prefixes(cache, StateFormat(model_id, model.shape, model.dtype, wkv), ttl_s=60, **options)
        prefixes.start()
        made.append(prefixes)
        return prefixes

    yield make
    for prefixes in made:
        prefixes.stop()
