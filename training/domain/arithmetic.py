"""Addition and subtraction up to 99, in digits and in small number words."""

from __future__ import annotations

from random import Random

from training.domain.exchange import Exchange
from training.domain.words import is_held_out, sentence

LARGEST = 99
_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()
_ONES += "sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_LARGEST_IN_WORDS = 20

_SUMS = (
    "what is {a} plus {b}?",
    "what is {a} plus {b}?",
    "how much is {a} plus {b}?",
    "what is {a} and {b}?",
    "add {a} and {b}.",
    "{a} plus {b}?",
    "calculate {a} plus {b}.",
)
_DIFFERENCES = (
    "what is {a} minus {b}?",
    "what is {a} minus {b}?",
    "how much is {a} minus {b}?",
    "subtract {b} from {a}.",
    "{a} minus {b}?",
    "calculate {a} minus {b}.",
)
_IN_SIGNS = (
    "what is {a} {s} {b}?",
    "{a} {s} {b}",
    "{a} {s} {b} =",
    "{a}{s}{b}",
    "how much is {a} {s} {b}?",
    "{a} {s} {b}?",
)


def in_words(number: int) -> str:
    """The number, 0 to 99, as it is read out."""
    if number < len(_ONES):
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")


def calculation(random: Random, *, held_out: bool = False) -> Exchange:
    """A sum or a difference; one pair of numbers in ten is held out."""
    while True:
        one, other = random.randint(0, LARGEST), random.randint(0, LARGEST)
        if random.random() < 0.4:
            one, other = random.randint(0, _LARGEST_IN_WORDS), random.randint(0, _LARGEST_IN_WORDS)
        is_sum = random.random() < 0.5
        result = one + other if is_sum else one - other
        if 0 <= result <= LARGEST and is_held_out(f"{one}{'+' if is_sum else '-'}{other}") == held_out:
            return _asked(random, one, other, result, is_sum=is_sum)


def _asked(random: Random, one: int, other: int, result: int, *, is_sum: bool) -> Exchange:
    word = "plus" if is_sum else "minus"
    asks = _SUMS if is_sum else _DIFFERENCES
    answer = f"{one} {word} {other} is {result}"
    if max(one, other) <= _LARGEST_IN_WORDS and random.random() < 0.5:
        # In digits first: sums of words by themselves are learned by heart, and not beyond that.
        a, b = in_words(one), in_words(other)
        answer += f", so {a} {word} {b} is {in_words(result)}"
    else:
        a, b = str(one), str(other)
        asks = _IN_SIGNS if random.random() < 0.35 else asks
    text = random.choice(asks).format(a=a, b=b, s="+" if is_sum else "-")
    return Exchange(sentence(text, ""), f"{answer}.", "reasoning")
