"""Our forward pass and engine against the `rwkv` package's, on the same tiny model in fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from feeding import MAX_TOKENS, fed
from oracle import Oracle, uneven
from torch import Tensor

from workers import checkpoint
from workers.batch import Batch, Segment
from workers.engine import Engine
from workers.rwkv7 import RWKV7
from workers.sequence import GenerationRequest, Sampling
from workers.tokenizer import Tokenizer

# The package is written in TorchScript, which torch has deprecated.
pytestmark = pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script:DeprecationWarning")

PATIENCE_S = 60
NEW_TOKENS = 16
GREEDY = Sampling(temperature=0, max_tokens=NEW_TOKENS)

PROMPTS = (
    "a",
    " ",
    "\n",
    "0",
    "Hello",
    "The quick brown fox jumps over the lazy dog.",
    "User: What is two plus three?\n\nAssistant:",
    "System: Be brief.\n\nUser: hi\n\nAssistant:",
    "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)\n",
    '{"key": [1, 2.5, null, true], "nested": {"a": "b"}}',
    "天",
    "天地玄黃，宇宙洪荒。日月盈昃，辰宿列張。",
    "ありがとうございました。またお越しください。",
    "안녕하세요, 만나서 반갑습니다.",
    "Привет, как дела? Всё хорошо.",
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "नमस्ते दुनिया",
    "Ωμέγα και άλφα — «τέλος»",
    "👩‍👩‍👧‍👦 🇯🇵 👍🏽 emoji",
    "word " * 60,
)

MakeModel = Callable[[int], RWKV7]
SlotOf = Callable[[RWKV7], int]

CHUNK = MAX_TOKENS
LENGTHS = (CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1)


def prompt_of(length: int) -> str:
    """A text of `length` tokens."""
    return ("天地玄黃" * length)[:length]


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    """Equal to a ten-thousandth of the largest value."""
    assert float((ours - theirs).abs().max()) <= 1e-4 * float(theirs.abs().max())


@pytest.fixture
def slot_of() -> Iterator[SlotOf]:
    """Takes a slot of a model, and gives it back at the end."""
    taken: list[tuple[RWKV7, int]] = []

    def take(model: RWKV7) -> int:
        taken.append((model, model.slots.take()))
        return taken[-1][1]

    yield take
    for model, slot in reversed(taken):
        model.slots.give_back(slot)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_greedy_tokens_are_the_packages(oracle: Oracle, engine: Engine, tokenizer: Tokenizer, prompt: str) -> None:
    """Token for token the engine answers what the package would."""
    answer = engine.submit(GenerationRequest(prompt, GREEDY)).result(PATIENCE_S)
    assert list(answer.tokens) == oracle.greedy(tokenizer, prompt, NEW_TOKENS)


@pytest.mark.parametrize("length", LENGTHS)
def test_chunks_change_no_token(oracle: Oracle, engine: Engine, tokenizer: Tokenizer, length: int) -> None:
    """A prompt that the engine feeds in chunks is answered as the package does, which feeds it at once."""
    prompt = prompt_of(length)
    answer = engine.submit(GenerationRequest(prompt, GREEDY)).result(PATIENCE_S)
    assert answer.prompt_tokens == length
    assert list(answer.tokens) == oracle.greedy(tokenizer, prompt, NEW_TOKENS)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_logits_are_the_packages(
    oracle: Oracle, model: RWKV7, slot_of: SlotOf, tokenizer: Tokenizer, prompt: str
) -> None:
    """After a whole prompt, and after one token more, the logits are the package's."""
    ids, slot = tokenizer.encode(prompt), slot_of(model)
    theirs, their_state = oracle.after(ids)
    assert_close(fed(model, slot, ids), theirs)
    assert_close(fed(model, slot, ids[:1]), oracle.following(ids[0], their_state))


@pytest.mark.parametrize("split", [1, 7, 16, 89])
def test_logits_and_state_do_not_depend_on_chunks(
    oracle: Oracle, model: RWKV7, slot_of: SlotOf, tokenizer: Tokenizer, split: int
) -> None:
    """A prompt in two parts leaves the package's logits and state, and so a whole one's."""
    ids, slot = tokenizer.encode(prompt_of(90)), slot_of(model)
    fed(model, slot, ids[:split])
    theirs, their_state = oracle.after(ids)
    assert_close(fed(model, slot, ids[split:]), theirs)
    for layer in range(model.shape.layers):
        shift, wkv, mix = their_state[3 * layer : 3 * layer + 3]
        assert_close(model.slots.shift[layer, 0, slot].cpu(), shift)
        assert_close(model.slots.shift[layer, 1, slot].cpu(), mix)
        assert_close(model.slots.wkv[layer, slot].mT.cpu(), wkv)


def test_sequences_of_one_batch_leave_each_other_alone(
    oracle: Oracle, make_model: MakeModel, slot_of: SlotOf, tokenizer: Tokenizer
) -> None:
    """Chunks and single tokens of several sequences, fed together, have the logits of running alone."""
    assert_apart(make_model(4), slot_of, oracle, tokenizer)


def assert_apart(model: RWKV7, slot_of: SlotOf, oracle: Oracle, tokenizer: Tokenizer) -> None:
    """Four sequences of different lengths, in steps of different sizes, have the package's logits."""
    texts = ("one two three", "天地玄黃", "a", "User: hi\n\nAssistant:")
    slots = [slot_of(model) for _ in texts]
    left = {slot: tokenizer.encode(text) for slot, text in zip(slots, texts, strict=True)}
    ids = {slot: list(tokens) for slot, tokens in left.items()}
    for size in (2, 1, 3, 100):
        segments = [Segment(slot, tuple(tokens[: size + slot])) for slot, tokens in left.items() if tokens]
        if not segments:
            break
        logits = model.forward(Batch(tuple(segments))).cpu()
        for segment, row in zip(segments, logits, strict=True):
            del left[segment.slot][: len(segment.tokens)]
            seen = ids[segment.slot][: len(ids[segment.slot]) - len(left[segment.slot])]
            assert_close(row, oracle.logits(seen))
    assert not any(left.values())


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(
    oracle: Oracle, checkpoint_path: Path, backend: Any, slot_of: SlotOf, tokenizer: Tokenizer, threads: int
) -> None:
    """Several sequences have the package's logits, on one thread and on several."""
    with on_threads(threads):
        model = RWKV7(
            checkpoint.load(checkpoint_path),
            torch.float32,
            slots=4,
            max_tokens=MAX_TOKENS,
            kernels=backend.kernels,
            device=backend.device,
        )
        assert_apart(model, slot_of, oracle, tokenizer)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Have torch, and so the kernels, run on so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_a_vocabulary_of_full_size_has_the_packages_logits(backend: Any, tmp_path: Path) -> None:
    """Of 65,536 tokens, whose logits are more than what the layers leave of their memory."""
    path = tmp_path / "world.pth"
    torch.save(uneven(65536), path)
    model = RWKV7(
        checkpoint.load(path),
        torch.float32,
        slots=2,
        max_tokens=8,
        kernels=backend.kernels,
        device=backend.device,
    )
    ids = [[65000, 17, 300], [1, 65535, 20000, 7]]
    slots = [model.slots.take() for _ in ids]
    logits = model.forward(Batch(tuple(Segment(slot, tuple(some)) for slot, some in zip(slots, ids, strict=True))))
    oracle = Oracle(path)
    for row, some in zip(logits.cpu(), ids, strict=True):
        assert_close(row, oracle.logits(some))


def test_only_what_is_wanted_has_logits(model: RWKV7, slot_of: SlotOf, tokenizer: Tokenizer) -> None:
    """A segment that is not wanted has no row, and moves its slot on all the same."""
    first, second = slot_of(model), slot_of(model)
    ids = tuple(tokenizer.encode("天地玄黃"))
    logits = model.forward(Batch((Segment(first, ids[:2], wanted=False), Segment(second, ids))))
    assert logits.shape == (1, model.shape.vocabulary)
    whole = logits[0].cpu().clone()
    assert_close(fed(model, first, ids[2:]), whole)


def test_a_slot_that_is_taken_again_has_forgotten(model: RWKV7, slot_of: SlotOf) -> None:
    """A slot given back and taken again is in the state before the first token."""
    slot = model.slots.take()
    first = fed(model, slot, [66, 67])
    model.slots.give_back(slot)
    assert slot_of(model) == slot
    assert_close(fed(model, slot, [66, 67]), first)
