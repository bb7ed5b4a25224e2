"""A little knowledge to talk about: capitals, opposites, days and months, counting, and lists to repeat."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from importlib.resources import files
from random import Random

from training.domain.arithmetic import in_words
from training.domain.exchange import Exchange
from training.domain.words import Words, sentence, together

_KNOWN = tomllib.loads((files("training") / "domain/knowledge.toml").read_text())
CAPITALS: dict[str, str] = _KNOWN["capitals"]
OPPOSITES: dict[str, str] = _KNOWN["opposites"]
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()


def knowledge(words: Words) -> Exchange:
    """A question about the world whose answer is always the same, or something to say again."""
    return words.random.choice(_KINDS)(words)


def _capital(words: Words) -> Exchange:
    country = words.random.choice([*CAPITALS])
    city, answer = CAPITALS[country], f"The capital of {country} is {CAPITALS[country]}."
    asks = (
        f"What is the capital of {country}?",
        f"What is the capital of {country}?",
        f"What is the capital city of {country}?",
        f"Do you know the capital of {country}?",
        f"Tell me the capital of {country}.",
        f"Which city is the capital of {country}?",
        f"{city} is the capital of which country?",
        f"Which country has the capital {city}?",
    )
    return Exchange(words.random.choice(asks), answer)


def _opposite(words: Words) -> Exchange:
    one, other = words.random.choice([*OPPOSITES.items()])
    if words.random.random() < 0.5:
        one, other = other, one
    asks = (f"What is the opposite of {one}?", f"Tell me the opposite of {one}.", f"What is the opposite of '{one}'?")
    return Exchange(words.random.choice(asks), f"The opposite of {one} is {other}.")


def _neighbour(words: Words) -> Exchange:
    random = words.random
    thing, row = random.choice((("day", DAYS), ("month", MONTHS)))
    at = random.randrange(len(row))
    side = random.choice(("after", "before"))
    other = row[(at + (1 if side == "after" else -1)) % len(row)]
    asks = (
        f"What {thing} comes {side} {row[at]}?",
        f"Which {thing} comes {side} {row[at]}?",
        f"What comes {side} {row[at]}?",
        f"Which {thing} is {side} {row[at]}?",
    )
    return Exchange(random.choice(asks), f"{other} comes {side} {row[at]}.")


def _row(words: Words) -> Exchange:
    thing, row = words.random.choice((("days of the week", DAYS), ("months of the year", MONTHS)))
    asks = (f"What are the {thing}?", f"Name the {thing}.", f"Tell me the {thing}.", f"Say the {thing}.")
    return Exchange(words.random.choice(asks), f"The {thing} are {together(row)}.")


def _number_of(words: Words) -> Exchange:
    ask, answer = words.random.choice(
        (
            ("How many days are there in a week?", "There are seven days in a week."),
            ("How many days are in a week?", "There are seven days in a week."),
            ("How many months are there in a year?", "There are twelve months in a year."),
            ("How many months are in a year?", "There are twelve months in a year."),
        )
    )
    return Exchange(ask, answer)


def _next_number(words: Words) -> Exchange:
    random = words.random
    number, side = random.randint(1, 98), random.choice(("after", "before"))
    other = number + (1 if side == "after" else -1)
    asks = (f"What number comes {side} {number}?", f"What comes {side} {number}?", f"Which number is {side} {number}?")
    return Exchange(random.choice(asks), f"{other} comes {side} {number}.")


def _count(words: Words) -> Exchange:
    random = words.random
    start, length = random.choice((1, 1, random.randint(2, 80))), random.randint(3, 10)
    numbers = [*range(start, start + length)]
    if start == 1 and random.random() < 0.5:
        said, end = [in_words(number) for number in numbers], in_words(length)
    else:
        said, end = [str(number) for number in numbers], str(numbers[-1])
    asks = [f"Count from {said[0]} to {end}."]
    asks += [f"Count to {end}.", f"Can you count to {end}?"] if start == 1 else []
    return Exchange(random.choice(asks), sentence(", ".join(said)))


def _repeat(words: Words) -> Exchange:
    random = words.random
    said = _list(words, random.randint(1, 7))
    text = random.choice((", ".join(said), " ".join(said)))
    return Exchange(
        random.choice((f"Repeat after me: {text}", f"Say: {text}", f"Repeat: {text}", f"Say this again: {text}")), text
    )


def kept_list(words: Words) -> tuple[Exchange, Exchange]:
    """A list to remember, and the question for it, to be asked later."""
    random = words.random
    said = _list(words, random.randint(2, 6))
    text = random.choice((together(said), ", ".join(said)))
    tell = random.choice(
        (f"Remember this list: {text}.", f"Please remember: {text}.", f"Keep this list for me: {text}.")
    )
    ask = random.choice(
        ("What was on the list?", "What is on my list?", "Repeat the list.", "Tell me the list.", "What was the list?")
    )
    return Exchange(tell, f"I will remember the list: {text}."), Exchange(ask, f"The list is: {text}.")


def _list(words: Words, length: int) -> list[str]:
    kinds = ("name", "colour", "thing", "animal", "food", "place", "drink", "number")
    mixed: Random = words.random
    kind = mixed.choice(kinds)
    return [words.draw(kind if mixed.random() < 0.7 else mixed.choice(kinds)) for _ in range(length)]


_KINDS: tuple[Callable[[Words], Exchange], ...] = (
    _capital,
    _capital,
    _capital,
    _opposite,
    _opposite,
    _neighbour,
    _neighbour,
    _row,
    _number_of,
    _next_number,
    _count,
    _repeat,
    _repeat,
    _repeat,
)
