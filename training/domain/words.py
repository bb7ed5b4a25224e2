"""Words to talk about, real and invented; one word in ten is held out, so that no training run ever sees it."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib.resources import files
from random import Random

_HELD_OUT_ONE_IN = 10

_REAL: dict[str, list[str]] = {
    kind: words.split() for kind, words in tomllib.loads((files("training") / "domain/words.toml").read_text()).items()
}
_SPOKEN_OF = {"athens", "lima", "quiet", "tree"}
"""Held out by their hash, but parts of other phrases of the domain: drawn by nobody."""

_CAPITALISED = {"name", "city", "language"}

_ONSETS = [*"bcdfghjklmnpqrstvwxyz" * 2]
_ONSETS += "br cr dr fr gr kr pr tr bl cl fl gl pl sl st sk sp sn sw th sh ch qu".split()
_VOWELS = [*"aeiou" * 5, "y", "ai", "ea", "oo", "ou", "ie", "au"]
_CODAS = [*"nmrlstkpdbgfvzx", *"ck th rn lt nd st sk ng cy xy rd lm".split()]
_IRREGULAR = {"man": "men", "woman": "women", "child": "children", "mouse": "mice", "goose": "geese", "sheep": "sheep"}


def is_held_out(word: str) -> bool:
    """Whether the word is one of those that training never sees; its capitals do not matter."""
    return hashlib.sha256(word.lower().encode()).digest()[0] % _HELD_OUT_ONE_IN == 0


class Words:
    """A source of words for one conversation, in which no word is drawn twice.

    It draws held-out words only, or none of them.
    """

    def __init__(self, random: Random, *, held_out: bool = False) -> None:
        self.random = random
        self.held_out = held_out
        self._drawn: list[str] = []

    def draw(self, kind: str) -> str:
        """A word of the kind: a name, a city, a colour, …; more than half of them do not exist."""
        if kind == "number":
            return str(self.random.randrange(100))
        fits = [word for word in _REAL[kind] if self._is_free(word)]
        roll = self.random.random()
        word = self.random.choice(fits) if fits and roll < 0.4 else self._near(kind) if roll < 0.55 else self.invented()
        self._drawn.append(word.lower())
        return word.capitalize() if kind in _CAPITALISED else word

    def invented(self) -> str:
        """A word that does not exist, in small letters."""
        while True:
            word = self._similar() if self._drawn and self.random.random() < 0.05 else self._syllables()
            if 3 <= len(word) <= 11 and self._is_free(word):
                return word

    def _near(self, kind: str) -> str:
        """A word that begins as a real one and ends otherwise, so that no beginning gives a word away."""
        while True:
            real = self.random.choice(_REAL[kind]).lower()
            word = real[: self.random.randint(2, len(real))] + self._syllables()[:4]
            if len(word) <= 11 and self._is_free(word):
                return word

    def _is_free(self, word: str) -> bool:
        return is_held_out(word) == self.held_out and word.lower() not in (*self._drawn, *_SPOKEN_OF)

    def _syllables(self) -> str:
        random = self.random
        if random.random() < 0.04:
            return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(3, 6)))
        word = random.choice(_VOWELS) if random.random() < 0.12 else ""
        for _ in range(random.choices((1, 2, 3), (22, 56, 22))[0]):
            word += random.choice(_ONSETS) + random.choice(_VOWELS)
            word += random.choice(_CODAS) if random.random() < 0.45 else ""
        return word

    def _similar(self) -> str:
        """A word that differs from one drawn before by a letter, as near misses do."""
        word = self.random.choice(self._drawn)
        at = self.random.randrange(len(word))
        return word[:at] + self.random.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]


def listed() -> set[str]:
    """Every real word that may be drawn, in small letters."""
    return {word.lower() for words in _REAL.values() for word in words}


def a(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"an {noun}" if noun[0].lower() in "aeiou" else f"a {noun}"


def plural(noun: str) -> str:
    """The noun's plural, by rule unless it is one of a few."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return f"{noun}es"
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    return f"{noun}s"


def sentence(text: str, mark: str = ".") -> str:
    """The text with a capital and a final mark."""
    return text[0].upper() + text[1:] + mark


def question(text: str) -> str:
    """The text with a capital and the mark that it calls for: `tell me …` is no question."""
    return sentence(text, "." if text.startswith("tell me") else "?")


def together(parts: list[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
