"""Beginnings of prompts: read once, found by whoever has the same model, and never to be told from the whole."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from feeding import Reading
from hypothesis import given
from hypothesis import strategies as st
from processes import until
from prometheus_client import REGISTRY

from cache.tier import MISS
from cache.tiered import TieredCache
from workers.checkpoint import Shape
from workers.engine import Engine
from workers.membranes.prompt import Prompt
from workers.prefixes import Prefixes
from workers.rwkv7 import RWKV7
from workers.sequence import Generation, GenerationRequest, Sampling
from workers.slots import State
from workers.states import StateFormat, UnusableState, WkvFormat
from workers.tokenizer import Tokenizer

PATIENCE_S = 60
GREEDY = Sampling(temperature=0, max_tokens=16)
PAST = "User: What is a tree?\n\nAssistant: A plant.\n\n" * 6
QUESTIONS = tuple(f"System: Think.\n\nUser: And number {n}?\n\nAssistant:" for n in range(4))
MODEL_ID = "0123456789abcdef"
SHAPE = Shape(layers=3, width=128, vocabulary=100)

MakePrefixes = Callable[..., Prefixes]


def request(question: str, **more: Any) -> GenerationRequest:
    """The past, marked, and a question."""
    return GenerationRequest(PAST + question, GREEDY, marks=(len(PAST) // 2, len(PAST)), **more)


def ask(engine: Engine, question: str) -> Generation:
    return engine.submit(request(question)).result(PATIENCE_S)


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def kept(prefixes: Prefixes, tokenizer: Tokenizer) -> bool:
    """Whether the state after the past has been written."""
    tokens = tokenizer.encode(PAST[: len(PAST) // 2]) + tokenizer.encode(PAST[len(PAST) // 2 :])
    return prefixes.find(prefixes.beginnings(tokens, [len(tokens)])).state is not None


def test_a_known_beginning_is_not_read_again(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any, tokenizer: Tokenizer
) -> None:
    """Its tokens are told as cached and are not fed, and the answer is that of the whole prompt."""
    expected = [start_engine(model).submit(GenerationRequest(PAST + q, GREEDY)).result(PATIENCE_S) for q in QUESTIONS]
    reading, prefixes = Reading(model), make_prefixes()
    engine = start_engine(reading, prefixes=prefixes)
    first = ask(engine, QUESTIONS[0])
    assert first.cached_tokens == 0
    until(lambda: kept(prefixes, tokenizer), "the state is kept", PATIENCE_S)
    for question, whole in zip(QUESTIONS, expected, strict=True):
        reading.fed = 0
        answer = ask(engine, question)
        assert answer.tokens == whole.tokens
        assert answer.prompt_tokens == whole.prompt_tokens
        assert answer.cached_tokens == len(tokenizer.encode(PAST))
        assert reading.fed == answer.prompt_tokens - answer.cached_tokens + len(answer.tokens) - 1


def test_another_engine_goes_on_from_what_the_first_has_read(
    make_model: Callable[[int], RWKV7], make_prefixes: MakePrefixes, start_engine: Any, tokenizer: Tokenizer
) -> None:
    """As a session does on another worker."""
    prefixes = make_prefixes()
    expected = ask(start_engine(make_model(1), prefixes=prefixes), QUESTIONS[0])
    until(lambda: kept(prefixes, tokenizer), "the state is kept", PATIENCE_S)
    answer = ask(start_engine(make_model(1), prefixes=make_prefixes()), QUESTIONS[0])
    assert answer.tokens == expected.tokens
    assert answer.cached_tokens == len(tokenizer.encode(PAST))


def test_a_state_of_another_model_is_not_found(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any, tokenizer: Tokenizer
) -> None:
    """Nor is one of another number format."""
    prefixes = make_prefixes()
    ask(start_engine(model, prefixes=prefixes), QUESTIONS[0])
    until(lambda: kept(prefixes, tokenizer), "the state is kept", PATIENCE_S)
    assert not kept(make_prefixes(model_id="fedcba9876543210"), tokenizer)
    assert not kept(make_prefixes(wkv="fp16"), tokenizer)


@pytest.mark.parametrize("at", [0, 5, 20, 47, 60, -1])
def test_a_flipped_bit_is_found_counted_and_computed_again(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any, tokenizer: Tokenizer, cache: TieredCache, at: int
) -> None:
    """In the header or the payload: the state is dropped, and the answer is the same."""
    prefixes = make_prefixes()
    engine = start_engine(model, prefixes=prefixes)
    expected = ask(engine, QUESTIONS[0])
    until(lambda: kept(prefixes, tokenizer), "the state is kept", PATIENCE_S)
    tokens = tokenizer.encode(PAST[: len(PAST) // 2]) + tokenizer.encode(PAST[len(PAST) // 2 :])
    key = prefixes.beginnings(tokens, [len(tokens)])[-1].key
    value = cache.get(key)
    assert value is not MISS
    spoiled = bytearray(value)
    spoiled[at] ^= 1
    cache.set(key, bytes(spoiled), 60)
    before = count("echo_states_refused_total", reason="damaged")
    answer = ask(engine, QUESTIONS[0])
    assert answer.tokens == expected.tokens
    assert answer.cached_tokens == 0
    assert count("echo_states_refused_total", reason="damaged") == before + 1


@pytest.mark.parametrize(
    "foreign",
    [
        ("f" * 16, torch.float32, "fp32", 0),
        (MODEL_ID, torch.bfloat16, "fp32", 0),
        (MODEL_ID, torch.float32, "fp16", 0),
        (MODEL_ID, torch.float32, "fp32", 1),
    ],
    ids=["model", "dtype", "wkv", "tokens"],
)
def test_a_foreign_state_is_found_counted_and_computed_again(
    model: RWKV7,
    make_prefixes: MakePrefixes,
    start_engine: Any,
    tokenizer: Tokenizer,
    cache: TieredCache,
    foreign: tuple[str, torch.dtype, WkvFormat, int],
) -> None:
    """Should a key ever lead to one: it is dropped, and the answer is the same."""
    model_id, dtype, wkv, more = foreign
    prefixes = make_prefixes()
    engine = start_engine(model, prefixes=prefixes)
    expected = ask(engine, QUESTIONS[0])
    prefixes.settle()
    tokens = tokenizer.encode(PAST[: len(PAST) // 2]) + tokenizer.encode(PAST[len(PAST) // 2 :])
    shape, key = model.shape, prefixes.beginnings(tokens, [len(tokens)])[-1].key
    state = State(
        torch.zeros(shape.layers, 2, shape.width, dtype=dtype), torch.zeros(shape.layers, shape.heads, 64, 64)
    )
    cache.set(key, StateFormat(model_id, shape, dtype, wkv).pack(state, len(tokens) + more), 60)
    before = count("echo_states_refused_total", reason="foreign")
    answer = ask(engine, QUESTIONS[0])
    assert (answer.tokens, answer.cached_tokens) == (expected.tokens, 0)
    assert count("echo_states_refused_total", reason="foreign") == before + 1
    prefixes.settle()
    assert ask(engine, QUESTIONS[0]).cached_tokens == len(tokens)


def test_a_state_of_another_layout_is_computed_again(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any, cache: TieredCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer version of the format is neither found nor, were it found, read."""
    prefixes = make_prefixes()
    engine = start_engine(model, prefixes=prefixes)
    expected = ask(engine, QUESTIONS[0])
    prefixes.settle()
    monkeypatch.setattr("workers.states.LAYOUT", 2)
    answer = ask(engine, QUESTIONS[0])
    assert (answer.tokens, answer.cached_tokens) == (expected.tokens, 0)


def test_a_beginning_that_several_ask_for_at_once_is_read_once(
    make_model: Callable[[int], RWKV7], make_prefixes: MakePrefixes, start_engine: Any, tokenizer: Tokenizer
) -> None:
    """The others wait for it, and go on from its state."""
    model = make_model(4)
    expected = [start_engine(model).submit(GenerationRequest(PAST + q, GREEDY)).result(PATIENCE_S) for q in QUESTIONS]
    reading = Reading(model)
    reading.go.clear()
    engine = start_engine(reading, prefixes=make_prefixes())
    futures = [engine.submit(request(question)) for question in QUESTIONS]
    reading.go.set()
    answers = [future.result(PATIENCE_S) for future in futures]
    assert [answer.tokens for answer in answers] == [answer.tokens for answer in expected]
    past = len(tokenizer.encode(PAST))
    assert [answer.cached_tokens for answer in answers] == [0, past, past, past]
    asked = sum(answer.prompt_tokens - answer.cached_tokens + len(answer.tokens) - 1 for answer in answers)
    assert reading.fed == asked


def test_when_the_one_who_reads_is_cancelled_another_takes_over(
    make_model: Callable[[int], RWKV7], make_prefixes: MakePrefixes, start_engine: Any
) -> None:
    """Nobody waits for somebody who has left; a waiting one may be cancelled, too."""
    model = make_model(4)
    expected = start_engine(model).submit(GenerationRequest(PAST + QUESTIONS[3], GREEDY)).result(PATIENCE_S)
    reading = Reading(model)
    reading.go.clear()
    engine = start_engine(reading, prefixes=make_prefixes())
    events = [threading.Event() for _ in QUESTIONS[:3]]
    first = [engine.submit(request(q, cancelled=event)) for q, event in zip(QUESTIONS[:3], events, strict=True)]
    last = engine.submit(request(QUESTIONS[3]))
    for event in events:
        event.set()
    reading.go.set()
    assert {future.result(PATIENCE_S).finish_reason for future in first} == {"cancelled"}
    assert last.result(PATIENCE_S).tokens == expected.tokens


def test_an_engine_that_stops_leaves_nobody_waiting(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any
) -> None:
    """Those who wait for another's reading are told, too."""
    reading = Reading(model)
    reading.go.clear()
    engine = start_engine(reading, prefixes=make_prefixes())
    futures = [engine.submit(request(question)) for question in QUESTIONS]
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    reading.go.set()
    stopping.join(PATIENCE_S)
    assert all(future.done() for future in futures)


def test_reading_ahead_keeps_the_state_and_says_nothing(
    model: RWKV7, make_prefixes: MakePrefixes, start_engine: Any, tokenizer: Tokenizer
) -> None:
    """What comes next has its past read; reading the same again costs nothing."""
    reading, prefixes = Reading(model), make_prefixes()
    engine = start_engine(reading, prefixes=prefixes)
    marks = (len(PAST) // 2, len(PAST))
    engine.read(Prompt(PAST, marks))
    until(lambda: kept(prefixes, tokenizer), "the state is kept", PATIENCE_S)
    past = len(tokenizer.encode(PAST))
    assert reading.fed == past
    engine.read(Prompt(PAST, marks))
    assert ask(engine, QUESTIONS[0]).cached_tokens == past
    assert reading.fed < 2 * past


@given(
    seed=st.integers(0, 1000),
    tokens=st.integers(0, 2**40),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_a_state_is_the_same_after_its_way_through_bytes(seed: int, tokens: int, dtype: torch.dtype) -> None:
    """To the bit, and in memory of its own."""
    states, state = StateFormat(MODEL_ID, SHAPE, dtype, "fp32"), random_state(seed, dtype)
    packed = states.pack(state, tokens)
    back = states.unpack(packed, tokens)
    assert torch.equal(back.shift, state.shift)
    assert torch.equal(back.wkv, state.wkv)
    back.wkv.zero_()
    assert torch.equal(states.unpack(packed, tokens).wkv, state.wkv)


def test_half_precision_halves_the_matrices_and_costs_little() -> None:
    """Two bytes a number, each right to a thousandth."""
    state = random_state(0, torch.float32)
    whole, half = (StateFormat(MODEL_ID, SHAPE, torch.float32, wkv) for wkv in ("fp32", "fp16"))
    packed = half.pack(state, 7)
    assert len(whole.pack(state, 7)) - len(packed) == 2 * state.wkv.numel()
    torch.testing.assert_close(half.unpack(packed, 7).wkv, state.wkv, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("other", "tokens"),
    [
        (StateFormat("f" * 16, SHAPE, torch.float32, "fp32"), 7),
        (StateFormat(MODEL_ID, replace(SHAPE, layers=2), torch.float32, "fp32"), 7),
        (StateFormat(MODEL_ID, SHAPE, torch.bfloat16, "fp32"), 7),
        (StateFormat(MODEL_ID, SHAPE, torch.float32, "fp16"), 7),
        (StateFormat(MODEL_ID, SHAPE, torch.float32, "fp32"), 8),
    ],
    ids=["model", "shape", "dtype", "wkv", "tokens"],
)
def test_a_state_of_something_else_is_refused(other: StateFormat, tokens: int) -> None:
    """Whatever differs, should a key ever lead to it."""
    packed = StateFormat(MODEL_ID, SHAPE, torch.float32, "fp32").pack(random_state(0, torch.float32), 7)
    with pytest.raises(UnusableState) as refusal:
        other.unpack(packed, tokens)
    assert refusal.value.reason == "foreign"


@pytest.mark.parametrize("length", [0, 10, 45, 500])
def test_a_cut_state_is_refused(length: int) -> None:
    """As damaged."""
    states = StateFormat(MODEL_ID, SHAPE, torch.float32, "fp32")
    with pytest.raises(UnusableState) as refusal:
        states.unpack(states.pack(random_state(0, torch.float32), 7)[:length], 7)
    assert refusal.value.reason == "damaged"


def random_state(seed: int, dtype: torch.dtype) -> State:
    chance = torch.Generator().manual_seed(seed)
    shift = torch.randn(SHAPE.layers, 2, SHAPE.width, generator=chance).to(dtype)
    return State(shift, torch.randn(SHAPE.layers, SHAPE.heads, 64, 64, generator=chance))
