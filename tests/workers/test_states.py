"""States that are kept after an answer: they have seen the prompt and the text, and nothing of what ended it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from feeding import fed

from workers.engine import Engine
from workers.rwkv7 import RWKV7
from workers.sequence import Generation, GenerationRequest, Sampling
from workers.tokenizer import Tokenizer

PATIENCE_S = 30
GREEDY = Sampling(temperature=0, max_tokens=24)
PROMPT = "User: What is a tree?\n\nAssistant:"
NEXT = "\n\nUser: And a forest?\n\nAssistant:"

Answer = Callable[[GenerationRequest], Generation]


@pytest.fixture
def answer(engine: Engine) -> Answer:
    """Waits for the engine's answer."""
    return lambda request: engine.submit(request).result(PATIENCE_S)


@pytest.fixture
def logits_after(model: RWKV7) -> Callable[..., torch.Tensor]:
    """What follows after tokens that are fed by hand, from a kept state or from nothing."""

    def logits(tokens: list[int], state: object = None) -> torch.Tensor:
        slot = model.slots.take(state)  # type: ignore[arg-type]
        try:
            return fed(model, slot, tokens)
        finally:
            model.slots.give_back(slot)

    return logits


def assert_kept(kept: Generation, seen: list[int], logits_after: Callable[..., torch.Tensor]) -> None:
    """The kept state is that after the tokens `seen`."""
    more = [100, 200]
    torch.testing.assert_close(logits_after(more, kept.state), logits_after(seen + more), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("start", [*range(12), 20, 57])
@pytest.mark.parametrize("length", [1, 2, 9])
def test_a_stop_string_leaves_no_trace(
    answer: Answer, logits_after: Callable[..., torch.Tensor], tokenizer: Tokenizer, start: int, length: int
) -> None:
    """Wherever it begins and ends, also within a token, the state is that exactly before it."""
    tokens = answer(GenerationRequest(PROMPT, GREEDY)).tokens
    stop = tokenizer.decode(tokens)[start : start + length]
    kept = answer(GenerationRequest(PROMPT, replace(GREEDY, stop=(stop,)), keep=True))
    assert kept.finish_reason == "stop"
    text = tokenizer.decode(tokens)[: tokenizer.decode(tokens).index(stop)]
    whole = max(count for count in range(len(tokens)) if len(tokenizer.decode(tokens[:count])) <= len(text))
    rest = text[len(tokenizer.decode(tokens[:whole])) :]
    seen = [*tokenizer.encode(PROMPT), *tokens[:whole], *tokenizer.encode_bytes(rest)]
    assert_kept(kept, seen, logits_after)


@pytest.mark.parametrize("limit", [1, 2, 17])
def test_an_answer_of_full_length_is_seen_whole(
    answer: Answer, logits_after: Callable[..., torch.Tensor], tokenizer: Tokenizer, limit: int
) -> None:
    """The last token is in the state, though nothing was chosen after it."""
    kept = answer(GenerationRequest(PROMPT, replace(GREEDY, max_tokens=limit), keep=True))
    assert kept.finish_reason == "length"
    assert_kept(kept, [*tokenizer.encode(PROMPT), *kept.tokens], logits_after)


def test_what_only_began_like_a_stop_string_is_seen(
    answer: Answer, logits_after: Callable[..., torch.Tensor], tokenizer: Tokenizer
) -> None:
    """Text that was held back, and then was no stop string, is part of the state."""
    text = tokenizer.decode(answer(GenerationRequest(PROMPT, GREEDY)).tokens)
    unlike = tuple(text[at : at + 5] + b"never said" for at in range(0, 60, 3))
    kept = answer(GenerationRequest(PROMPT, replace(GREEDY, stop=unlike), keep=True))
    assert kept.text.encode() == text.decode(errors="replace").encode()
    assert_kept(kept, [*tokenizer.encode(PROMPT), *kept.tokens], logits_after)


def test_a_conversation_goes_on_from_its_state(answer: Answer, tokenizer: Tokenizer) -> None:
    """The next turn after a kept state is answered as after the whole text."""
    first = answer(GenerationRequest(PROMPT, GREEDY, keep=True))
    whole = PROMPT + tokenizer.decode(first.tokens).decode(errors="replace") + NEXT
    assert tokenizer.encode(whole) == [*tokenizer.encode(PROMPT), *first.tokens, *tokenizer.encode(NEXT)], "the premise"
    assert (
        answer(GenerationRequest(NEXT, GREEDY, state=first.state)).tokens
        == answer(GenerationRequest(whole, GREEDY)).tokens
    )


def test_a_kept_state_is_no_view_of_its_slot(answer: Answer) -> None:
    """Answers after it change nothing of it, and it may be used twice."""
    kept = answer(GenerationRequest(PROMPT, GREEDY, keep=True))
    once = answer(GenerationRequest(NEXT, GREEDY, state=kept.state))
    answer(GenerationRequest("other text", GREEDY))
    assert answer(GenerationRequest(NEXT, GREEDY, state=kept.state)).tokens == once.tokens


def test_nobody_pays_for_a_state_that_was_not_asked_for(answer: Answer) -> None:
    """Without `keep` there is none."""
    assert answer(GenerationRequest(PROMPT, GREEDY)).state is None
