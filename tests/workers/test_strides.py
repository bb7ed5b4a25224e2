"""Strides: long prompts share what nobody has marked, whatever mix of states they go on from."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from feeding import Reading
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache.memory import MemoryTier
from cache.tier import MISS
from cache.tiered import TieredCache
from workers.engine import Engine
from workers.prefixes import Prefixes
from workers.rwkv7 import RWKV7
from workers.sequence import Generation, GenerationRequest, Sampling
from workers.states import StateFormat
from workers.tokenizer import Tokenizer

PATIENCE_S = 60
STRIDE = 16
GREEDY = Sampling(temperature=0, max_tokens=8)
LETTERS = "天地玄黃宇宙洪荒日月"  # a token each

MakePrefixes = Callable[..., Prefixes]


def text(tokens: int, seed: int = 0) -> str:
    """A text of so many tokens, whose beginnings are those of the longer ones with the same seed."""
    chance = random.Random(seed)
    return "".join(chance.choice(LETTERS) for _ in range(tokens))


DOCUMENT = text(5 * STRIDE + 3)


def ask(engine: Engine, prompt: str, marks: tuple[int, ...] = ()) -> Generation:
    return engine.submit(GenerationRequest(prompt, GREEDY, marks=marks)).result(PATIENCE_S)


def test_a_token_a_character(tokenizer: Tokenizer) -> None:
    """The premise of this file."""
    assert len(tokenizer.encode(DOCUMENT)) == len(DOCUMENT)


def test_prompts_with_a_document_in_common_read_it_once(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any
) -> None:
    """All but what is left of it after its last stride; and each is answered as by itself."""
    alone = start_engine(model)
    expected = [ask(alone, DOCUMENT + text(9, seed)).tokens for seed in range(1, 4)]
    reading, prefixes = Reading(model), make_prefixes(stride_tokens=STRIDE)
    engine = start_engine(reading, prefixes=prefixes)
    for seed, tokens in zip(range(1, 4), expected, strict=True):
        reading.fed = 0
        answer = ask(engine, DOCUMENT + text(9, seed))
        prefixes.settle()
        assert answer.tokens == tokens
        assert answer.cached_tokens == (0 if seed == 1 else 5 * STRIDE)
        assert reading.fed == answer.prompt_tokens - answer.cached_tokens + len(answer.tokens) - 1


def test_a_document_that_several_ask_about_at_once_is_read_once(
    make_model: Callable[[int], RWKV7], make_prefixes: MakePrefixes, start_engine: Any
) -> None:
    """Those who come while the first one reads go on from the stride where their prompts part."""
    model, prompts = make_model(4), [DOCUMENT + text(20, seed) for seed in range(1, 5)]
    alone = start_engine(model)
    expected = [ask(alone, prompt).tokens for prompt in prompts]
    alone.stop()
    reading = Reading(model)
    reading.go.clear()
    engine = start_engine(reading, prefixes=make_prefixes(stride_tokens=STRIDE))
    futures = [engine.submit(GenerationRequest(prompt, GREEDY)) for prompt in prompts]
    reading.go.set()
    answers = [future.result(PATIENCE_S) for future in futures]
    assert [answer.tokens for answer in answers] == expected
    assert [answer.cached_tokens for answer in answers] == [0, *[5 * STRIDE] * 3]
    assert reading.fed == sum(one.prompt_tokens - one.cached_tokens + len(one.tokens) - 1 for one in answers)


@pytest.mark.parametrize("strides", [1, 3])
def test_a_prompt_that_is_a_kept_beginning_is_answered(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any, strides: int
) -> None:
    """Its last stride is read again, for there are no logits without a token."""
    prompt = text(strides * STRIDE)
    expected = ask(start_engine(model), prompt).tokens
    prefixes = make_prefixes(stride_tokens=STRIDE)
    engine = start_engine(model, prefixes=prefixes)
    ask(engine, prompt + text(5, 1))
    prefixes.settle()
    for _ in range(2):
        answer = ask(engine, prompt)
        assert (answer.tokens, answer.cached_tokens) == (expected, (strides - 1) * STRIDE)


def test_equal_prompts_at_once_that_end_with_a_stride_are_all_answered(
    make_model: Callable[[int], RWKV7], make_prefixes: MakePrefixes, start_engine: Any
) -> None:
    """Nobody is left with nothing to feed."""
    model, prompt = make_model(3), text(2 * STRIDE)
    alone = start_engine(model)
    expected = ask(alone, prompt).tokens
    alone.stop()
    engine = start_engine(model, prefixes=make_prefixes(stride_tokens=STRIDE))
    futures = [engine.submit(GenerationRequest(prompt, GREEDY)) for _ in range(5)]
    assert {future.result(PATIENCE_S).tokens for future in futures} == {expected}


def test_what_was_asked_for_twice_goes_to_the_shared_tier(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any, cache: TieredCache, tokenizer: Tokenizer
) -> None:
    """And nothing else: a prompt that comes once leaves nothing where all workers look."""
    spare = TieredCache(MemoryTier(64 << 20, "ranked"))
    prefixes = make_prefixes(stride_tokens=STRIDE, spare=spare)
    engine = start_engine(model, prefixes=prefixes)

    def shared() -> list[int]:
        beginnings = prefixes.beginnings(tokenizer.encode(DOCUMENT), [])
        return [one.tokens for one in beginnings if cache.get(one.key) is not MISS]

    ask(engine, DOCUMENT + text(9, 1))
    prefixes.settle()
    assert shared() == []
    ask(engine, DOCUMENT + text(9, 2))
    prefixes.settle()
    assert shared() == [5 * STRIDE]


def test_where_a_spare_state_was_lost_the_second_sight_makes_up_for_it(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any
) -> None:
    """The state where two prompts part is kept for the third, in however little room."""
    spare = TieredCache(MemoryTier(1, "ranked"))  # holds nothing
    prefixes = make_prefixes(stride_tokens=STRIDE, spare=spare)
    engine = start_engine(model, prefixes=prefixes)
    cached = []
    for seed in range(1, 4):
        cached.append(ask(engine, DOCUMENT + text(9, seed)).cached_tokens)
        prefixes.settle()
    assert cached == [0, 0, 5 * STRIDE]


@pytest.mark.parametrize("spoil", [lambda packed: packed[:-1] + bytes([packed[-1] ^ 1]), lambda packed: b"EWKV"])
def test_a_damaged_spare_state_is_computed_again(
    model: RWKV7,
    make_prefixes: MakePrefixes,
    start_engine: Any,
    cache: TieredCache,
    tokenizer: Tokenizer,
    spoil: Callable[[bytes], bytes],
) -> None:
    """The next shorter one is gone on from."""
    prefixes = make_prefixes(stride_tokens=STRIDE)
    engine = start_engine(model, prefixes=prefixes)
    expected = ask(engine, DOCUMENT).tokens
    prefixes.settle()
    last = prefixes.beginnings(tokenizer.encode(DOCUMENT), [])[-1]
    (name,) = [name for name in last.spare_names if cache.get(name) is not MISS]
    packed = cache.get(name)
    assert packed is not MISS
    cache.set(name, spoil(packed), 60)
    answer = ask(engine, DOCUMENT)
    assert (answer.tokens, answer.cached_tokens) == (expected, 4 * STRIDE)


@pytest.fixture
def models(make_model: Callable[[int], RWKV7]) -> tuple[RWKV7, RWKV7]:
    """Two of the same, for many examples."""
    return make_model(3), make_model(1)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mix_of_marks_and_strides_says_the_same(
    models: tuple[RWKV7, RWKV7], start_engine: Any, data: st.DataObject
) -> None:
    """Prompts that part anywhere, at once or one after the other: every answer is that of a fresh engine."""
    model, another = models
    whole = text(6 * STRIDE)
    prompts = []
    for seed in range(data.draw(st.integers(2, 6), "prompts")):
        shared = data.draw(st.integers(0, len(whole)), "shared")
        prompt = whole[:shared] + text(data.draw(st.integers(1, 2 * STRIDE), "own"), seed + 1)
        marks = sorted(data.draw(st.sets(st.integers(1, len(prompt)), max_size=3), "marks"))
        prompts.append(GenerationRequest(prompt, GREEDY, marks=tuple(marks)))
    prefixes = Prefixes(
        TieredCache(MemoryTier(data.draw(st.sampled_from([1 << 20, 64 << 20]), "room"), "ranked")),
        StateFormat("0123456789abcdef", model.shape, model.dtype, "fp32"),
        ttl_s=60,
        stride_tokens=STRIDE,
    )
    prefixes.start()
    engine, alone = start_engine(model, prefixes=prefixes), start_engine(another)
    at_once = data.draw(st.booleans(), "at once")
    futures = []
    for request in prompts:
        futures.append(engine.submit(request))
        if not at_once:
            futures[-1].result(PATIENCE_S)
            prefixes.settle()
    for request, future in zip(prompts, futures, strict=True):
        expected = alone.submit(GenerationRequest(request.prompt, GREEDY)).result(PATIENCE_S)
        assert future.result(PATIENCE_S).tokens == expected.tokens
    for one in (engine, alone):
        one.stop()
    prefixes.stop()
