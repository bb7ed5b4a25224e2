"""Whatever runs beside a sequence, and however its prompt is cut: its greedy tokens are the `rwkv` package's."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from feeding import assert_free
from oracle import Oracle
from torch import Tensor

from workers.batch import Batch, Segment
from workers.engine import Engine
from workers.rwkv7 import RWKV7
from workers.sequence import Generation, GenerationRequest, Sampling
from workers.tokenizer import Tokenizer

# The package is written in TorchScript, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script:DeprecationWarning")

PATIENCE_S = 120
SEEDS = [*range(40), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(40, 200))]
LONGEST = 24
GREEDY = Sampling(temperature=0, max_tokens=LONGEST)
TEXTS = (
    "天地玄黃，宇宙洪荒。",
    "def f(x):\n    return x\n",
    "User: hello\n\nAssistant:",
    "word ",
    "Привет, как дела? ",
)
PROMPTS = tuple((text * 60)[:length] for text in TEXTS for length in (1, 15, 16, 17, 70, 250))


@dataclass
class Visit:
    """A request that comes before the step `arrives`, and is cancelled once it has said `patience` tokens."""

    arrives: int
    request: GenerationRequest
    patience: int | None
    future: Future[Generation] = field(default_factory=Future)


class Mix:
    """A model that, step by step, lets visits arrive, and cancels those whose patience is over."""

    def __init__(self, model: RWKV7, visits: list[Visit]) -> None:
        self.shape, self.slots, self.max_tokens = model.shape, model.slots, model.max_tokens
        self.sampler, self.watch, self.threads = model.sampler, model.watch, 1
        self._model = model
        self._to_come = sorted(visits, key=lambda visit: -visit.arrives)
        self._steps = itertools.count()
        self._door = threading.Lock()
        self.engine: Engine

    def forward(self, batch: Batch) -> Tensor:
        step = next(self._steps)
        for _ in range(sum(visit.arrives <= step for visit in tuple(self._to_come))):
            self.let_in()
        return self._model.forward(batch)

    def let_in(self) -> Future[Generation] | None:
        """Have the next visit come, if there is one."""
        with self._door:
            if not self._to_come:
                return None
            visit = self._to_come.pop()
            visit.future = self.engine.submit(visit.request)
            return visit.future


def visits_of(chance: random.Random) -> list[Visit]:
    """From 2 to 10 of them: any prompts, lengths, arrivals; every fourth is cancelled on its way."""
    visits = []
    for _ in range(chance.randint(2, 10)):
        patience = chance.randrange(LONGEST) if chance.random() < 0.25 else None
        request = GenerationRequest(
            chance.choice(PROMPTS), replace(GREEDY, max_tokens=chance.randint(1, LONGEST)), chance.randint(1, 10)
        )
        if patience is not None:
            request = _impatient(request, patience)
        visits.append(Visit(chance.randrange(40), request, patience))
    return visits


def _impatient(request: GenerationRequest, patience: int) -> GenerationRequest:
    pieces = itertools.count(1)

    def heard(text: str) -> None:
        if next(pieces) >= patience:
            request.cancelled.set()

    return replace(request, on_text=heard)


@pytest.fixture(scope="module")
def expected(oracle: Oracle, tokenizer: Tokenizer) -> Callable[[str], tuple[int, ...]]:
    """The package's answers to the prompts, as long as any visit asks for."""
    return lambda prompt: tuple(oracle.greedy(tokenizer, prompt, LONGEST))


@pytest.fixture
def models(make_model: Callable[[int], RWKV7]) -> list[RWKV7]:
    """The tiny model with different numbers of slots."""
    return [make_model(slots) for slots in (1, 3, 8)]


def test_a_prompt_alone_is_answered_as_by_the_package(
    models: list[RWKV7], start_engine: Any, expected: Callable[[str], tuple[int, ...]]
) -> None:
    """The solo runs, which all mixes must equal."""
    engine = start_engine(models[0])
    for prompt in PROMPTS:
        assert engine.submit(GenerationRequest(prompt, GREEDY)).result(PATIENCE_S).tokens == expected(prompt)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mix_changes_no_token(
    seed: int, models: list[RWKV7], tokenizer: Tokenizer, expected: Callable[[str], tuple[int, ...]]
) -> None:
    """Arrivals, cancellations, slots and chunks change nothing of any answer; a cancelled one is its beginning."""
    chance = random.Random(seed)
    visits = visits_of(chance)
    mix = Mix(chance.choice(models), visits)
    mix.engine = Engine(
        mix,  # type: ignore[arg-type]
        tokenizer,
        max_prompt_tokens=1024,
        prefill_tokens=chance.choice((1, 5, 16, 96)),
    )
    mix.engine.start()
    try:
        while future := mix.let_in():  # an engine at rest makes no steps: so the next one comes now
            future.exception(PATIENCE_S)
        answers = [visit.future.result(PATIENCE_S) for visit in visits]
    finally:
        mix.engine.stop()
    for visit, answer in zip(visits, answers, strict=True):
        whole = expected(visit.request.prompt)[: visit.request.sampling.max_tokens]
        if answer.finish_reason == "cancelled":
            assert visit.patience is not None
            assert answer.tokens == whole[: len(answer.tokens)]
        else:
            assert answer.tokens == whole
    assert_free(mix.slots)


@pytest.mark.parametrize("seed", range(20))
def test_logits_are_the_packages_in_any_company(
    seed: int, oracle: Oracle, models: list[RWKV7], tokenizer: Tokenizer
) -> None:
    """To a ten-thousandth of the largest, fed in pieces of any length beside others."""
    chance = random.Random(seed)
    model = models[-1]
    left = {model.slots.take(): tokenizer.encode(chance.choice(PROMPTS)) for _ in range(model.slots.count)}
    whole = dict(left)
    try:
        while left:
            segments = []
            for slot in chance.sample(sorted(left), chance.randint(1, len(left))):
                count = min(len(left[slot]), chance.randint(1, 60), model.max_tokens // model.slots.count)
                segments.append(Segment(slot, tuple(left[slot][:count]), count == len(left[slot])))
                left[slot] = left[slot][count:]
            logits = model.forward(Batch(tuple(segments))).cpu()
            for slot, ours in zip([one.slot for one in segments if one.wanted], logits, strict=True):
                theirs = oracle.logits(whole[slot])
                assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.abs().max())
                del left[slot]
    finally:
        for slot in whole:
            model.slots.give_back(slot)
