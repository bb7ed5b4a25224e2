"""A tiny random model, the World vocabulary, and engines over them that are stopped at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracle as oracles
import pytest
import torch
from feeding import MAX_TOKENS

from bench import untrained
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


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """The World tokenizer."""
    return vocabulary.load(None)


@pytest.fixture(scope="session")
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's file. Its norms are uneven, so that one that is left out or swapped shows."""
    weights = untrained.weights(layers=2, width=128, vocabulary=65536)
    uneven = torch.Generator().manual_seed(1)
    for name in [name for name in weights if ".ln" in name or name.startswith("ln_")]:
        noise = 0.2 * torch.randn(weights[name].shape, generator=uneven)
        weights[name] = (weights[name].float() + noise).to(torch.bfloat16)
    path = tmp_path_factory.mktemp("models") / "tiny.pth"
    torch.save(weights, path)
    return path


@pytest.fixture(scope="session")
def oracle(checkpoint_path: Path) -> Any:
    """The `rwkv` package with the tiny model."""
    return oracles.load(checkpoint_path)


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
def make_model(checkpoint_path: Path, backend: Backend) -> Callable[[int], RWKV7]:
    """The tiny model in fp32, with as many slots as asked for."""
    loaded = checkpoint.load(checkpoint_path)
    return lambda slots: RWKV7(
        loaded,
        torch.float32,
        slots=slots,
        max_tokens=MAX_TOKENS,
        kernels=backend.kernels,
        device=backend.device,
    )


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
