"""Small talk, remarks that call for no more than a nod, and questions that are beyond so small a model."""

from __future__ import annotations

import tomllib
from importlib.resources import files

from training.domain.exchange import Exchange
from training.domain.grammar import statement
from training.domain.words import Words, sentence

_TALK = tomllib.loads((files("training") / "domain/talk.toml").read_text())
_OF_THE_DAY = ("hello", "well", "who", "can", "welcome", "bye")
_UNKNOWN = _TALK["unknown"]["answer"]
_TOO_LARGE = "I can only count to 99."
_NO_PRODUCTS = "I can only add and subtract."
_PRODUCTS = ("What is {a} times {b}?", "What is {a} divided by {b}?", "{a} * {b}", "{a} / {b}", "{a} x {b}")
_LARGE = ("What is {a} plus {b}?", "What is {a} minus {b}?", "{a} + {b}", "{a} - {b}", "How much is {a} plus {b}?")
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ",
    "äöüßéèñçøå aeiou",
    "абвгдежзиклмнопрст ",
    "的一是不了人我在有他这",
    "あいうえおかきくけこ",
    "😀🎉🚀❤👍 ",
    "{}[]()<>;=+-*/&|! ",
    "αβγδεζηθικλμ ",
)
_BEYOND = (
    "What is a {w}?",
    "Who is the king of {c}?",
    "What does {w} mean?",
    "How do I make {w}?",
    "Why is {w} {v}?",
    "What is the capital of {c}?",
    "How far is {c}?",
    "Who invented the {w}?",
    "Where can I buy {w}?",
    "Tell me about {w}.",
    "Write about {w} and {v}.",
    "Explain {w}.",
    "What is the {w} of {v}?",
)


def small_talk(words: Words) -> Exchange:
    """A greeting, a thank you, a question about the model itself."""
    talk = _TALK[words.random.choice(_OF_THE_DAY)]
    return Exchange(words.random.choice(talk["said"]), talk["answer"])


def remark(words: Words) -> Exchange:
    """Something that needs no answer."""
    talk = _TALK["see"]
    text = words.random.choice(talk["said"]) if words.random.random() < 0.5 else statement(words)
    return Exchange(text, talk["answer"])


def beyond(words: Words) -> Exchange:
    """A question that the model cannot answer, and says so."""
    random = words.random
    roll = random.random()
    if roll < 0.4:
        return Exchange(random.choice(_TALK["unknown"]["said"]), _UNKNOWN)
    if roll < 0.5:
        return _too_large(words)
    if roll < 0.6:
        return Exchange(_gibberish(words), _UNKNOWN)
    text = random.choice(_BEYOND).format(w=words.invented(), v=words.invented(), c=words.invented().capitalize())
    return Exchange(sentence(text, ""), _UNKNOWN)


def _too_large(words: Words) -> Exchange:
    random = words.random
    one, other = random.randint(100, 9999), random.randint(1, 9999)
    if random.random() < 0.3:
        one, other = random.randint(2, 99), random.randint(2, 99)
        text = random.choice(_PRODUCTS)
        return Exchange(text.format(a=one, b=other), _NO_PRODUCTS, "reasoning")
    text = random.choice(_LARGE)
    return Exchange(text.format(a=one, b=other), _TOO_LARGE, "reasoning")


def _gibberish(words: Words) -> str:
    """Text of no language that the model knows: letters, other scripts, signs."""
    random = words.random
    alphabet = random.choice(_ALPHABETS)
    return "".join(random.choices(alphabet, k=random.randint(3, 40))).strip() or "?"
