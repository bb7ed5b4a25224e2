"""The bundled model's vocabulary: bytes, turns, syllables, and the words that the domain's phrases are made of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path

from training.domain.knowledge import CAPITALS
from training.domain.words import listed

_TURNS = ("\n\n", "User:", "Assistant:", "System:")
_CONSONANTS, _VOWELS = "bcdfghjklmnpqrstvwxyz", "aeiou"
_WORDS = 400


def pieces(texts: Iterable[str]) -> list[bytes]:
    """The vocabulary from id 1 on: single bytes first, words last, those that are in most of the `texts`.

    Words that stand for things to be remembered stay in syllables, names above all, so that the held-out
    ones are made of nothing that training has not seen.
    """
    counts = Counter(word for text in texts for word in {*re.findall(r" [A-Za-z]{2,}", text)})
    spelt = listed() | {part.lower() for pair in CAPITALS.items() for name in pair for part in name.split()}
    words = [word for word, _ in counts.most_common() if word.strip().lower() not in spelt][:_WORDS]
    parts = dict.fromkeys([*_TURNS, *_syllables(), *(f" {letter}" for letter in _letters()), *words])
    return [bytes([byte]) for byte in range(256)] + [part.encode() for part in parts]


def write(tokens: list[bytes], path: Path) -> None:
    """A vocabulary file in the format of `rwkv_vocab_v20230424.txt`: `id literal length` a line."""
    lines = []
    for token_id, token in enumerate(tokens, 1):
        try:
            literal = repr(token.decode())
        except UnicodeDecodeError:
            literal = repr(token)
        lines.append(f"{token_id} {literal} {len(token)}\n")
    path.write_text("".join(lines), encoding="utf-8")


def _syllables() -> Iterator[str]:
    for consonant, vowel in product(_CONSONANTS, _VOWELS):
        yield from (f"{consonant}{vowel}", f" {consonant}{vowel}", f" {consonant.upper()}{vowel}")


def _letters() -> Iterator[str]:
    for letter in sorted({*_CONSONANTS, *_VOWELS}):
        yield letter
        yield letter.upper()
