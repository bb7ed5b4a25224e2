"""From conversations to tokens: the prompts that are really sent, and a vocabulary that any text fits."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rwkv.rwkv_tokenizer import TRIE_TOKENIZER
from torch import Tensor

from echo_tasks.keys import INTEGRATION, MEMBRANES
from training import vocabulary
from training.documents import PROMPT_WEIGHT, chat, document, documents, output_of, prompt_of, samples
from training.domain.exchange import Exchange
from training.evaluation import Case
from training.foreseen import foreseen
from workers import tokenizer
from workers.model import BUNDLED
from workers.tokenizer import END_OF_TEXT, Tokenizer

TOLD = Exchange("my name is Zorla", "Nice to meet you, Zorla.", corrected="My name is Zorla.")
ASKED = Exchange("Who am I?", "Your name is Zorla.")
SUM = Exchange("What is 2 plus 3?", "2 plus 3 is 5.", "reasoning")


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    """The bundled model's vocabulary."""
    return tokenizer.load(BUNDLED.with_suffix(".vocab.txt"))


def test_each_membrane_is_taught_its_own_prompt_and_part() -> None:
    """The one who knows says the answer, the others that it is not theirs; grammar restates; integration decides."""
    assert prompt_of("memory", [TOLD], ASKED).startswith(chat([TOLD]) + "System: Recall")
    assert prompt_of("grammar", [TOLD], ASKED).startswith("System: Correct")
    notes = prompt_of(INTEGRATION, [TOLD], ASKED).split("\n\n")[2].splitlines()[1:]
    assert notes == ["Memory: Your name is Zorla.", "Reasoning: Nothing to work out.", "Grammar: Who am I?"]
    assert [output_of(step, SUM) for step in (*MEMBRANES, INTEGRATION)] == [
        *("Nothing to recall.", "2 plus 3 is 5.", "What is 2 plus 3?", "2 plus 3 is 5.")
    ]
    assert output_of("grammar", TOLD) == "My name is Zorla."


def test_notes_may_be_missing() -> None:
    """A job that names one membrane has one note."""
    assert "Memory:" not in prompt_of(INTEGRATION, [], SUM, {"reasoning": "5"})


@given(seed=st.integers(0, 2**32))
def test_answers_count_in_full_and_prompts_little(seed: int) -> None:
    """Of a document's tokens, those of answers weigh 1, and they spell the answers."""
    words = tokenizer.load(BUNDLED.with_suffix(".vocab.txt"))
    made = document([TOLD, ASKED], Random(seed), words)
    assert {1.0, PROMPT_WEIGHT} <= set(made.weights) <= {1.0, PROMPT_WEIGHT, 0.0}
    said = words.decode(t for t, weight in zip(made.tokens, made.weights, strict=True) if weight == 1).decode()
    whole = words.decode(made.tokens).decode()
    assert whole.startswith(("User: ", "System: "))
    outputs = {output_of(step, last) for step in MEMBRANES for last in (TOLD, ASKED)}
    assert said.strip().split("\n\n")[-1].strip() in outputs
    assert made.tokens[-1] == END_OF_TEXT or whole.endswith("\n\n")


def test_an_answer_beside_the_point_is_not_learned() -> None:
    """Some conversations hold answers that say nothing: they are read, and weigh nothing."""
    words = tokenizer.load(BUNDLED.with_suffix(".vocab.txt"))
    for seed in range(400):
        made = document([TOLD, ASKED], Random(seed), words)
        unlearned = [t for t, weight in zip(made.tokens, made.weights, strict=True) if weight == 0]
        if unlearned:
            assert words.decode(unlearned).decode().endswith("\n\n")
            return
    raise AssertionError("every answer was learned")


def test_every_piece_is_met_in_training(words: Tokenizer) -> None:
    """No piece beyond the bytes is in the vocabulary without use: one that training never met would spoil names."""
    met = Counter(token for made in islice(documents(Random(5), words), 4000) for token in made.tokens)
    assert [words.decode([token]) for token in range(257, words.largest_id + 1) if not met[token]] == []


def test_a_vocabulary_is_made_of_what_is_said(tmp_path: Path) -> None:
    """The file is in the format of the `rwkv` package, holds all bytes, and is the same for the same seed."""
    made, again = (vocabulary.pieces(samples(Random(3), 400)) for _ in range(2))
    assert made == again
    assert made[:256] == [bytes([byte]) for byte in range(256)]
    assert {b"\n\n", b"User:", b"Assistant:", b"System:", b" zo", b" Zo", b" remember"} <= set(made)
    path = tmp_path / "made.txt"
    vocabulary.write(made, path)
    ours, theirs = tokenizer.load(path), TRIE_TOKENIZER(str(path))
    text = "User: My name is Zorla. Ünïcödé 天地 😀 \x00\x1b\n\nAssistant: Nice to meet you, Zorla.\n\n"
    assert ours.encode(text) == theirs.encode(text)
    assert theirs.decode(ours.encode(text)) == text


@given(text=st.text())
def test_any_text_fits_the_bundled_vocabulary(text: str) -> None:
    """Whatever is written encodes, and reads back byte for byte."""
    words = tokenizer.load(BUNDLED.with_suffix(".vocab.txt"))
    assert words.decode(words.encode(text)).decode() == text


def test_pieces_of_a_prompt_and_its_answer_join(words: Tokenizer) -> None:
    """Encoded apart, as training and serving do, prompt and answer have the tokens of the whole."""
    prompt, answer = prompt_of("memory", [TOLD], ASKED), f" {ASKED.answer}"
    assert words.encode(prompt) + words.encode(answer) == words.encode(prompt + answer)


class Foreseeing(torch.nn.Module):
    """Foresees every token of its rows but the ones it is blind to."""

    def __init__(self, blind_to: list[int], vocabulary: int) -> None:
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(1))
        self.blind_to, self.vocabulary = torch.tensor(blind_to), vocabulary

    def forward(self, tokens: Tensor, fresh: Tensor) -> Tensor:
        coming = tokens.roll(-1, 1)
        coming[torch.isin(coming, self.blind_to)] = 0
        return torch.nn.functional.one_hot(coming, self.vocabulary).float()


def test_foreseen_answers_are_counted(words: Tokenizer) -> None:
    """An answer is right when each of its tokens is foreseen, however the conversations fall into rows."""
    five = words.encode("5")
    blind = Foreseeing(five, words.largest_id + 1)
    wrong = Exchange("What is 1 plus 5?", "1 plus 5 is 6.", "reasoning")
    cases = [Case((TOLD, ASKED)), Case((SUM, wrong, ASKED), judged=3), Case((SUM, ASKED))] * 20
    assert foreseen(blind, cases, words) == pytest.approx(3 / 5)  # type: ignore[arg-type]
    assert foreseen(Foreseeing([], words.largest_id + 1), cases, words) == 1  # type: ignore[arg-type]
